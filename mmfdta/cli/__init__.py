# Copyright (c) mmfdta authors.
"""The command `mmfdta VERB`: one module per verb, each a few lines on `mmfdta.apis`.

A module has ``add_arguments(parser)`` and ``run(options) -> int | None``. Its docstring
is the description that ``--help`` shows. Heavy imports stand in ``run``, so that
``--help`` answers at once; errors are left to :mod:`mmfdta.cli.errors`.
"""

__all__: list[str] = []
