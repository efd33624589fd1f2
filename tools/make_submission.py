# Copyright (c) mmfdta authors.
"""Check results on a hidden test set and pack them for the benchmark's server."""

import argparse
import sys
from pathlib import Path

from mmfdta.evaluation.submission import LAYOUTS, make_submission


def main() -> int:
    """Run the tool.

    Returns:
        int: 0, or 1 if the results cannot be submitted.
    """
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('benchmark', choices=sorted(LAYOUTS))
    parser.add_argument(
        '--results', required=True, type=Path, help='folder with <sequence>.txt'
    )
    parser.add_argument(
        '--data',
        required=True,
        type=Path,
        help='folder of the test split, with a folder for each sequence',
    )
    parser.add_argument('--out', required=True, type=Path, help='the zip to write')
    options = parser.parse_args()
    try:
        made = make_submission(
            options.benchmark, options.results, options.data, options.out
        )
    except (OSError, ValueError) as error:
        print(f'make_submission: error: {error}', file=sys.stderr)
        return 1
    if made.left_out:
        print(f'left out, no such sequence: {", ".join(made.left_out)}')
    total = sum(made.rows.values())
    print(f'{made.path}: {len(made.rows)} sequences, {total} rows')
    return 0


if __name__ == '__main__':
    sys.exit(main())
