# Copyright (c) mmfdta authors.
"""Checks of a machine with a GPU; `mmfdta gpu-check` is this.

A check is a function in one of the modules here, made known by `checks.check`. Each
section runs in a process of its own, so that what one breaks stays there.
"""

__all__: list[str] = []
