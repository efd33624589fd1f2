# Copyright (c) mmfdta authors.
"""The same as `mmfdta new-tracker`."""

import sys

from mmfdta.cli.main import main

if __name__ == '__main__':
    sys.exit(main(['new-tracker', *sys.argv[1:]]))
