# Copyright (c) mmfdta authors.
"""Arguments that several verbs share."""

import argparse
import math
import os
import re
import sys
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager

from mmfdta.utils.processes import LAUNCHERS, Processes, join_processes

# A parser, or one of its groups.
Options = argparse.ArgumentParser | argparse._ArgumentGroup
# Those of `mmfdta.engine.PRECISIONS`, without loading PyTorch for a help.
PRECISIONS = ('fp32', 'tf32', 'fp16', 'bf16')


class CfgOptions(argparse.Action):
    """MMEngine's ``DictAction``, imported only where ``--cfg-options`` is given."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: str | Sequence | None,
        option_string: str | None = None,
    ) -> None:
        """Add ``KEY=VALUE`` pairs to those of earlier options."""
        for text in values or ():
            if '=' not in text:
                raise argparse.ArgumentError(
                    self, f'found {text!r}, expected KEY=VALUE'
                )
        given = dict(getattr(namespace, self.dest))
        try:
            from mmengine.config import DictAction
        except ModuleNotFoundError:
            # Whoever reads settings without MMEngine says what is missing.
            pairs = (text.split('=', 1) for text in values or ())
            setattr(namespace, self.dest, given | dict(pairs))
            return
        DictAction(self.option_strings, self.dest)(
            parser, namespace, values, option_string
        )
        setattr(namespace, self.dest, given | getattr(namespace, self.dest))


def number(low: float, high: float = math.inf, whole: bool = False) -> Callable:
    """Make the ``type`` of an option that takes numbers of a range.

    Args:
        low: Least value.
        high: Largest value.
        whole: Take whole numbers only.
    """
    kind = 'a whole number' if whole else 'a number'
    upper = 'on' if high == math.inf else f'to {high:.12g}'

    def read(text: str) -> float:
        try:
            value = int(text) if whole else float(text)
        except ValueError:
            value = math.nan
        if not low <= value <= high or math.isinf(value):
            raise argparse.ArgumentTypeError(
                f'found {text!r}, expected {kind} from {low:g} {upper}'
            )
        return value

    return read


def seed(text: str) -> int:
    """Read a seed, the ``type`` of an option; NumPy takes no others."""
    return number(0, 2**32 - 1, whole=True)(text)


def frame_size(text: str) -> tuple[int, int]:
    """Read ``WIDTHxHEIGHT``, the ``type`` of an option."""
    found = re.fullmatch(r'([1-9]\d*)x([1-9]\d*)', text)
    if found is None:
        raise argparse.ArgumentTypeError(
            f'found {text!r}, expected WIDTHxHEIGHT in pixels, such as 1440x800'
        )
    return int(found[1]), int(found[2])


def add_cfg_options(parser: Options, text: str) -> None:
    """Add ``--cfg-options``; ``cfg_options`` is empty where it is not given.

    Args:
        parser: Receives the argument.
        text: What is changed, for ``--help``.
    """
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action=CfgOptions,
        default={},
        metavar='KEY=VALUE',
        help=text,
    )


def add_compile(parser: Options) -> None:
    """Add ``--compile``.

    Args:
        parser: Receives the argument.
    """
    parser.add_argument(
        '--compile',
        action='store_true',
        help="let PyTorch compile the detector's networks; the first frame of a size "
        'takes a minute or more',
    )


def add_precision(parser: Options, use: str) -> None:
    """Add ``--precision``.

    Args:
        parser: Receives the argument.
        use: What is done in it, for ``--help``.
    """
    parser.add_argument(
        '--precision',
        choices=PRECISIONS,
        help=f"{use}: float32, float32 with TF32, float16 or bfloat16; the config's, "
        'or fp32',
    )


def add_batch_size(parser: Options) -> None:
    """Add ``--batch-size``; None leaves the choice to the free memory."""
    parser.add_argument(
        '--batch-size',
        type=number(1, whole=True),
        metavar='FRAMES',
        help='frames the detector takes at a time; by default as many as the free '
        'memory of the GPU surely holds, at most 8, and 1 on a CPU; the last digits of '
        'boxes may change',
    )


def add_keep_embeddings(parser: Options) -> None:
    """Add ``--keep-embeddings``, which decides nothing about the tracks."""
    parser.add_argument(
        '--keep-embeddings',
        action='store_true',
        help='write the embeddings of the tracks next to their text, as .npz, which '
        'refine --embeddings reads',
    )


def add_checkpoint(parser: Options) -> None:
    """Add the checkpoint, which may follow the config or be named as an option.

    Args:
        parser: Receives the arguments; see :func:`named_checkpoint`.
    """
    parser.add_argument(
        'checkpoint',
        nargs='?',
        help='path, address or name (mmfdta weights) of the weights; by default what '
        'the config names as its checkpoint',
    )
    parser.add_argument(
        '--checkpoint', dest='checkpoint_option', help='the same, as an option'
    )


def named_checkpoint(options: argparse.Namespace) -> str | None:
    """Return the checkpoint that the arguments name, or None.

    Args:
        options: The parsed arguments.

    Raises:
        ValueError: If two are named.
    """
    named = {options.checkpoint, options.checkpoint_option} - {None}
    if len(named) > 1:
        raise ValueError(f'two checkpoints are named: {", ".join(sorted(named))}')
    return named.pop() if named else None


def add_run_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what ``train`` and ``test`` share: the config, its changes, the launcher."""
    parser.add_argument('config', help='path of a config, or its name in mmfdta')
    parser.add_argument(
        '--work-dir', help='folder for logs and results; ./work_dirs/<config> if unset'
    )
    add_cfg_options(parser, 'settings to change, such as train_cfg.max_epochs=2')
    add_launcher(parser)


def add_launcher(parser: Options) -> None:
    """Add ``--launcher``.

    Args:
        parser: Receives the arguments; see :func:`join_job`.
    """
    parser.add_argument(
        '--launcher',
        choices=LAUNCHERS,
        default='none',
        help='what started the processes of a distributed job, which share the work',
    )
    # torch.distributed.launch passes the rank in the first spelling or the second.
    parser.add_argument(
        '--local_rank', '--local-rank', type=int, default=0, help=argparse.SUPPRESS
    )


def meet_launcher(options: argparse.Namespace) -> None:
    """Take what a launcher has to say; say if it starts the processes once more.

    Some pass the local rank as an argument only, and MMEngine wants a variable.
    """
    os.environ.setdefault('LOCAL_RANK', str(options.local_rank))
    count = os.environ.get('TORCHELASTIC_RESTART_COUNT', '0')
    if count != '0' and os.environ.get('RANK') == '0':
        most = os.environ.get('TORCHELASTIC_MAX_RESTARTS')
        print(
            f'mmfdta {options.verb}: a process has ended, and all start again '
            f'({count} of {most})',
            file=sys.stderr,
        )


def join_job(options: argparse.Namespace) -> AbstractContextManager[Processes]:
    """Connect the processes that share the work of a command.

    Args:
        options: With what :func:`add_launcher` adds.

    Returns:
        See :func:`mmfdta.utils.processes.join_processes`.
    """
    meet_launcher(options)
    return join_processes(options.launcher)


def add_video_options(parser: argparse._ActionsContainer) -> None:
    """Add ``--audio`` and ``--crf``, how annotated videos are encoded.

    Args:
        parser: Receives the arguments.
    """
    parser.add_argument(
        '--audio',
        action='store_true',
        help="keep the source's audio in the written video",
    )
    parser.add_argument(
        '--crf',
        type=number(0, 63, whole=True),
        metavar='N',
        help='quality of the written video: H.264 1 (best) to 51, 23 by default; webm '
        '0 to 63, 32 by default; not for avi',
    )
