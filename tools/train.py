# Copyright (c) mmfdta authors.
"""Train the model of a config; the same as `python -m mmfdta train`."""

import sys

from mmfdta.apis.train import main

if __name__ == '__main__':
    main(sys.argv[1:])
