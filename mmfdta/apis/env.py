# Copyright (c) mmfdta authors.
"""Show what is installed: `python -m mmfdta env`."""

import argparse

from mmfdta.utils.environment import describe_environment, find_environment
from mmfdta.utils.mmcv_ext import has_compiled_operators


def main(arguments: list[str]) -> None:
    """Print the versions, the family and the state of MMCV's operators."""
    parser = argparse.ArgumentParser('python -m mmfdta env', description=__doc__)
    parser.parse_args(arguments)
    print(describe_environment(find_environment(), has_compiled_operators()))
