# Copyright (c) mmfdta authors.
"""The same as `mmfdta submit`."""

import sys

from mmfdta.cli.main import main

if __name__ == '__main__':
    sys.exit(main(['submit', *sys.argv[1:]]))
