# Copyright (c) mmfdta authors.
"""Train the small FDTA with and without each adapter; see --help."""

import sys

from mmfdta.minidance.demo.ablation import main

if __name__ == '__main__':
    sys.exit(main(sys.argv[1:]))
