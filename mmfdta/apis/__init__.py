# Copyright (c) mmfdta authors.
"""What is called from outside: training, testing and the Python interface."""
