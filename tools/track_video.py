# Copyright (c) mmfdta authors.
"""The same as `mmfdta track`."""

import sys

from mmfdta.cli.main import main

if __name__ == '__main__':
    sys.exit(main(['track', *sys.argv[1:]]))
