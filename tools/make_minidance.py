# Copyright (c) mmfdta authors.
"""The same as `mmfdta minidance`."""

import sys

from mmfdta.cli.main import main

if __name__ == '__main__':
    sys.exit(main(['minidance', *sys.argv[1:]]))
