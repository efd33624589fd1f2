# Copyright (c) mmfdta authors.
"""Make the weights of the small FDTA that come with mmfdta, and their recipe."""

import sys

from mmfdta.minidance.make_weights import main

if __name__ == '__main__':
    sys.exit(main())
