# Copyright (c) mmfdta authors.
"""Small things that every room uses; nothing here imports another room."""

# Each module is imported by its name.
__all__: list[str] = []
