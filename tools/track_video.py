# Copyright (c) mmfdta authors.
"""Track the objects of a video; the same as `python -m mmfdta track`."""

import sys

from mmfdta.apis.track import main

if __name__ == '__main__':
    sys.exit(main(sys.argv[1:]))
