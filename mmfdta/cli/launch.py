# Copyright (c) mmfdta authors.
"""`torchrun`, which ends in one line where a process of the job did.

``python -m mmfdta.cli.launch ARGUMENTS`` takes the arguments of ``torchrun``.
"""

import logging
import os
import sys

from .errors import INTERRUPTED

# PyTorch reads it when it is imported. The processes of the job keep their own.
_LEVEL = 'TORCH_CPP_LOG_LEVEL'


def main() -> int:
    """Start the processes of a job.

    Returns:
        Exit code: 0, that of the process that failed first, 1 if the machines do not
            find each other, or 130.
    """
    own = os.environ.get(_LEVEL)
    # It would print the stack of each attempt to connect.
    os.environ.setdefault(_LEVEL, 'FATAL')
    from torch.distributed import run
    from torch.distributed.elastic.multiprocessing.api import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.elastic.rendezvous import RendezvousError

    if own is None:
        del os.environ[_LEVEL]
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
    except (RendezvousError, RuntimeError, ValueError, AssertionError) as error:
        reason = ' '.join(str(error).split())[:200].rstrip('.') or type(error).__name__
        print(
            f'mmfdta: the machines of the job do not come together: {reason}; NNODES '
            'is how many there are, MASTER_ADDR the address of the one with '
            'NODE_RANK=0, PORT a free port there',
            file=sys.stderr,
        )
        return 1
    return 0


if __name__ == '__main__':
    sys.exit(main())
