# Copyright (c) mmfdta authors.
"""Search the thresholds of FDTA; the same as `python -m mmfdta tune`."""

import sys

from mmfdta.apis.analysis.tune_thresholds import main

if __name__ == '__main__':
    main(sys.argv[1:])
