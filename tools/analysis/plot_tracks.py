# Copyright (c) mmfdta authors.
"""Draw timelines of tracks; the same as `python -m mmfdta plot-tracks`."""

import sys

from mmfdta.apis.analysis.plot_tracks import main

if __name__ == '__main__':
    main(sys.argv[1:])
