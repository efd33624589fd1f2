# Copyright (c) mmfdta authors.
"""The same as `mmfdta ablation`."""

import sys

from mmfdta.cli.main import main

if __name__ == '__main__':
    sys.exit(main(['ablation', *sys.argv[1:]]))
