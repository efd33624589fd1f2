# Copyright (c) mmfdta authors.
"""The same as `mmfdta similarity`."""

import sys

from mmfdta.cli.main import main

if __name__ == '__main__':
    sys.exit(main(['similarity', *sys.argv[1:]]))
