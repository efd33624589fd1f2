# Copyright (c) mmfdta authors.
"""Small things that every room uses; nothing here imports another room."""
