# Copyright (c) mmfdta authors.
"""Convert a checkpoint; the same as `python -m mmfdta convert`."""

import sys

from mmfdta.apis.convert import main

if __name__ == '__main__':
    sys.exit(main(sys.argv[1:]))
