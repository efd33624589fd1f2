# Copyright (c) mmfdta authors.
"""The same as `mmfdta test`."""

import sys

from mmfdta.cli.main import main

if __name__ == '__main__':
    sys.exit(main(['test', *sys.argv[1:]]))
