# Copyright (c) mmfdta authors.
"""Render a MiniDance data set: dancers in nearly the same clothes.

    mmfdta minidance data/minidance --similarity 0.9 --frames 120

A folder that holds a set of the same options is reused.
"""

import argparse
from dataclasses import fields

from mmfdta.minidance import MiniDanceOptions, make_minidance
from mmfdta.minidance.writing import show_progress

from .arguments import number


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.add_argument('root', help='folder to make')
    parser.add_argument(
        '--processes', type=number(1, whole=True), help='default: one per core'
    )
    for option in fields(MiniDanceOptions):
        parser.add_argument(
            f'--{option.name.replace("_", "-")}',
            type=option.type,
            default=option.default,
            help=f'{option.metadata["text"]} (default: {option.default})',
        )


def run(options: argparse.Namespace) -> None:
    """Render the data set."""
    wanted = MiniDanceOptions(
        **{f.name: getattr(options, f.name) for f in fields(MiniDanceOptions)}
    )
    made = make_minidance(options.root, wanted, options.processes, show_progress())
    print(f'{options.root}: {"rendered" if made else "reused, it was there already"}')
