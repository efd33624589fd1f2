# Copyright (c) mmfdta authors.
"""The same as `mmfdta plot-tracks`."""

import sys

from mmfdta.cli.main import main

if __name__ == '__main__':
    sys.exit(main(['plot-tracks', *sys.argv[1:]]))
