# Copyright (c) mmfdta authors.
"""Estimate the peak memory of training a config."""

import sys

from mmfdta.apis.analysis.estimate_memory import main

if __name__ == '__main__':
    main(sys.argv[1:])
