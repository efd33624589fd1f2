# Copyright (c) mmfdta authors.
"""The same as `mmfdta estimate-memory`."""

import sys

from mmfdta.cli.main import main

if __name__ == '__main__':
    sys.exit(main(['estimate-memory', *sys.argv[1:]]))
