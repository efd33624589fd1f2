# Copyright (c) mmfdta authors.
"""Track and score with a checkpoint; the same as `python -m mmfdta test`."""

import sys

from mmfdta.apis.test import main

if __name__ == '__main__':
    main(sys.argv[1:])
