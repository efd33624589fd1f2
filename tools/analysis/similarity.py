# Copyright (c) mmfdta authors.
"""Measure how alike embeddings are; the same as `python -m mmfdta similarity`."""

import sys

from mmfdta.apis.analysis.similarity import main

if __name__ == '__main__':
    main(sys.argv[1:])
