# Copyright (c) mmfdta authors.
"""Prepare or check a data set; see docs/data.md."""

import sys

from mmfdta.datasets.prepare import main

if __name__ == '__main__':
    sys.exit(main(sys.argv[1:]))
