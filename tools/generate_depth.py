# Copyright (c) mmfdta authors.
"""Make depth maps for training; see docs/depth.md."""

import sys

from mmfdta.datasets.generate import main

if __name__ == '__main__':
    sys.exit(main(sys.argv[1:]))
