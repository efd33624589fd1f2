# Copyright (c) mmfdta authors.
"""The same as `mmfdta generate-depth`."""

import sys

from mmfdta.cli.main import main

if __name__ == '__main__':
    sys.exit(main(['generate-depth', *sys.argv[1:]]))
