# Copyright (c) mmfdta authors.
"""List the weights that others have published, their scores, or fetch some."""

import argparse


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.add_argument(
        'names',
        nargs='*',
        metavar='NAME',
        help='weights to fetch; their paths are printed. Without a name, the list is',
    )
    parser.add_argument(
        '--expected',
        action='store_true',
        help='show what the named weights, or all, are published to score on which '
        'split, who scores it and by which command; nothing is fetched',
    )
    parser.add_argument(
        '--dir',
        metavar='FOLDER',
        help='put the files there; by default where --checkpoint NAME looks for them',
    )
    parser.add_argument(
        '--json', action='store_true', help='print all that is known, as JSON'
    )
    parser.add_argument(
        '--no-progress', action='store_true', help='show no progress bar'
    )


def run(options: argparse.Namespace) -> None:
    """List, say what to expect, or fetch."""
    import json
    from pathlib import Path

    from mmfdta.apis.weights import (
        describe_expected,
        describe_published,
        describe_tolerance,
        facts_of,
        fetch_published,
        find_published,
    )
    from mmfdta.checkpoints import PUBLISHED

    folder = Path(options.dir) if options.dir else None
    chosen = [find_published(name) for name in options.names]
    for weights in () if options.expected else chosen:
        path = fetch_published(weights, folder, not options.no_progress)
        if not options.json:
            print(path, flush=True)
    if options.json:
        listed = chosen or PUBLISHED.values()
        print(json.dumps([facts_of(weights, folder) for weights in listed], indent=1))
    elif options.expected:
        shown = [describe_expected(w) for w in chosen or PUBLISHED.values()]
        print('\n\n'.join([*shown, describe_tolerance()]))
    elif not chosen:
        print(describe_published())
