# Copyright (c) mmfdta authors.
"""The same as `mmfdta tune`."""

import sys

from mmfdta.cli.main import main

if __name__ == '__main__':
    sys.exit(main(['tune', *sys.argv[1:]]))
