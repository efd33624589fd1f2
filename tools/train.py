# Copyright (c) mmfdta authors.
"""The same as `mmfdta train`."""

import sys

from mmfdta.cli.main import main

if __name__ == '__main__':
    sys.exit(main(['train', *sys.argv[1:]]))
