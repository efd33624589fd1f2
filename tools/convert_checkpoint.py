# Copyright (c) mmfdta authors.
"""The same as `mmfdta convert`."""

import sys

from mmfdta.cli.main import main

if __name__ == '__main__':
    sys.exit(main(['convert', *sys.argv[1:]]))
