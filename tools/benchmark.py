# Copyright (c) mmfdta authors.
"""Compare trackers on a data set; the same as `python -m mmfdta benchmark`."""

import sys

from mmfdta.apis.benchmark import main

if __name__ == '__main__':
    sys.exit(main(sys.argv[1:]))
