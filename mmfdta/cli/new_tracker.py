# Copyright (c) mmfdta authors.
"""Start a tracker of your own.

Writes a package with a tracker that works, its config and its test. The tracker
begins as the project's IoUEmbeddingTracker; docs/add_a_tracker.md continues from
there.
"""

import argparse
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.add_argument('name', help='name of the class, such as GlueTracker')
    parser.add_argument(
        '--into', type=Path, default=Path(), help='folder of the package; this one'
    )


def run(options: argparse.Namespace) -> None:
    """Write the package and list its files."""
    from mmfdta.apis.new_tracker import write_tracker

    print('\n'.join(map(str, write_tracker(options.name, options.into))))
