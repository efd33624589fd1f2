# Copyright (c) mmfdta authors.
"""The same as `mmfdta prepare-dataset`."""

import sys

from mmfdta.cli.main import main

if __name__ == '__main__':
    sys.exit(main(['prepare-dataset', *sys.argv[1:]]))
