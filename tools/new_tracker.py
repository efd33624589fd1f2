# Copyright (c) mmfdta authors.
"""Start a tracker of your own; the same as `python -m mmfdta new-tracker`."""

import sys

from mmfdta.apis.new_tracker import main

if __name__ == '__main__':
    sys.exit(main(sys.argv[1:]))
