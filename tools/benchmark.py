# Copyright (c) mmfdta authors.
"""The same as `mmfdta benchmark`."""

import sys

from mmfdta.cli.main import main

if __name__ == '__main__':
    sys.exit(main(['benchmark', *sys.argv[1:]]))
