# Copyright (c) mmfdta authors.
"""`torchrun`, which ends in one line where a process of the job did.

``python -m mmfdta.cli.launch ARGUMENTS`` takes the arguments of ``torchrun``.
"""

import logging
import sys

from torch.distributed import run
from torch.distributed.elastic.multiprocessing.api import SignalException
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError

from .errors import INTERRUPTED


def main() -> int:
    """Start the processes of a job.

    Returns:
        Exit code: 0, that of the process that failed first, or 130.
    """
    logging.disable(logging.ERROR)  # it reports on every process that it ends
    try:
        run.main()
    except ChildFailedError as error:
        rank, failure = error.get_first_failure()
        if failure.error_file_data.get('timestamp'):
            print(failure.message, file=sys.stderr)
        elif failure.exitcode < 0:  # otherwise it said it itself
            print(f'mmfdta: process {rank}: {failure.message}', file=sys.stderr)
        return failure.exitcode if failure.exitcode > 0 else 1
    except (SignalException, KeyboardInterrupt):
        print('mmfdta: interrupted', file=sys.stderr)
        return INTERRUPTED
    return 0


if __name__ == '__main__':
    sys.exit(main())
