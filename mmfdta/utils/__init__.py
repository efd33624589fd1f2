# Copyright (c) mmfdta authors.
"""The environment in which MMDetection is imported, and helpers of many packages."""

# Import the modules by their names.
__all__: list[str] = []
