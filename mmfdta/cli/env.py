# Copyright (c) mmfdta authors.
"""Show what is installed: versions, the family and the state of MMCV's operators."""

import argparse


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add nothing: the command has no arguments."""


def run(options: argparse.Namespace) -> None:
    """Print the report."""
    from mmfdta.utils.environment import describe_environment, find_environment

    print(describe_environment(find_environment()))
