# Copyright (c) mmfdta authors.
"""The environment that MMDetection is imported in, and what many packages use."""

# Each module is imported by its name.
__all__: list[str] = []
