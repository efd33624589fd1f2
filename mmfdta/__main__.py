# Copyright (c) mmfdta authors.
"""`python -m mmfdta VERB`, the same as the command `mmfdta VERB`."""

import sys

from mmfdta.cli.main import main

if __name__ == '__main__':
    sys.exit(main())
