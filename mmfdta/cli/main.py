# Copyright (c) mmfdta authors.
"""Entry of the command `mmfdta VERB`; `python -m mmfdta VERB` is the same."""

import argparse
import importlib
import sys
import warnings
from collections.abc import Sequence

from mmfdta.utils.known_warnings import quiet_known_warnings
from mmfdta.utils.threads import bound_spinning
from mmfdta.version import __version__

from .errors import report_errors

# Verb -> (module, what it does). A module is imported only when its verb is named.
VERBS = {
    'train': ('mmfdta.cli.train', 'train the model of a config'),
    'test': ('mmfdta.cli.test', 'track and score with a checkpoint'),
    'track': ('mmfdta.cli.track', 'track a video, folder or camera'),
    'evaluate': ('mmfdta.cli.evaluate', 'score tracks in MOTChallenge text'),
    'refine': ('mmfdta.cli.refine', 'improve finished tracks'),
    'benchmark': ('mmfdta.cli.benchmark', 'compare several trackers on a data set'),
    'tune': ('mmfdta.cli.tune', "search a tracker's thresholds and settings"),
    'export': ('mmfdta.cli.export', 'export a tracker to run without PyTorch'),
    'convert': ('mmfdta.cli.convert', 'convert a checkpoint of another project'),
    'weights': ('mmfdta.cli.weights', 'list and fetch published weights'),
    'check-data': ('mmfdta.cli.check_data', 'check a data set and its depth maps'),
    'prepare-dataset': (
        'mmfdta.cli.prepare_dataset',
        'write the annotations of a data set',
    ),
    'generate-depth': (
        'mmfdta.cli.generate_depth',
        'write the depth maps of a data set',
    ),
    'minidance': ('mmfdta.cli.minidance', 'render a MiniDance data set'),
    'submit': ('mmfdta.cli.submit', 'check and pack results for a test server'),
    'new-tracker': ('mmfdta.cli.new_tracker', 'start a tracker of your own'),
    'diagnose': ('mmfdta.cli.diagnose', 'say why identities switch'),
    'similarity': ('mmfdta.cli.similarity', 'measure how similar objects look'),
    'plot-tracks': ('mmfdta.cli.plot_tracks', 'draw timelines of tracks'),
    'estimate-memory': (
        'mmfdta.cli.estimate_memory',
        'estimate the peak memory of training a config',
    ),
    'mmdet': ('mmfdta.cli.mmdet', 'run a tool of MMDetection, with all registered'),
    'env': ('mmfdta.cli.env', 'show versions and the state of the operators'),
    'gpu-check': ('mmfdta.cli.gpu_check', 'check and measure all on a GPU'),
    'demo': ('mmfdta.cli.demo', 'train and compare the small FDTA on MiniDance'),
    'ablation': (
        'mmfdta.cli.ablation',
        'train the small FDTA with and without each adapter',
    ),
}


def build_parser(verb: str | None = None) -> argparse.ArgumentParser:
    """Make the tree of arguments.

    Args:
        verb: The only one whose own arguments are added, because that takes importing
            its module.

    Returns:
        The parser; what it parses has ``verb`` and, with a verb, ``run`` and
        ``traceback``.
    """
    # argparse breaks its own list of longer names into two lines each.
    width = max(map(len, VERBS))
    listed = [f'  {name:<{width}}  {text}' for name, (_, text) in VERBS.items()]
    parser = argparse.ArgumentParser(
        'mmfdta',
        formatter_class=argparse.RawDescriptionHelpFormatter,
        description='Train, compare and use multi-object trackers.',
        epilog='\n'.join(
            ['verbs:', *listed, '', 'mmfdta VERB --help shows the arguments of a verb.']
        ),
    )
    parser.add_argument('--version', action='version', version=__version__)
    verbs = parser.add_subparsers(dest='verb', metavar='VERB', help='what to do')
    for name in VERBS:
        branch = verbs.add_parser(
            name, formatter_class=argparse.RawDescriptionHelpFormatter
        )
        if name == verb:
            module = importlib.import_module(VERBS[name][0])
            branch.description = module.__doc__
            module.add_arguments(branch)
            branch.add_argument(
                '--traceback', action='store_true', help='show where an error arose'
            )
            branch.set_defaults(run=module.run)
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a verb.

    Args:
        arguments: Verb and its arguments; None takes those of the process, and then
            the current folder is one of those with modules.

    Returns:
        Exit code: 0, 1 if the work could not be done, 130 if it was interrupted,
            3 of `gpu-check` without a GPU.

    Raises:
        SystemExit: With 2 if the arguments are not understood, with 0 after a help.
    """
    if arguments is None:
        arguments = sys.argv[1:]
        # Packages that a config names may be in the current folder. `python -m` looks
        # there, a script only in its own folder.
        if '' not in sys.path:
            sys.path.append('')
    verb = arguments[0] if arguments and arguments[0] in VERBS else None
    if verb is None:
        parser = build_parser()
        parser.parse_args(arguments)
        parser.print_help(sys.stderr)
        return 2
    bound_spinning()
    quiet_known_warnings()
    warnings.formatwarning = lambda message, *_: f'warning: {message}\n'
    with report_errors(verb, '--traceback' in arguments) as ending:
        options = build_parser(verb).parse_args(arguments)
        ending.code = options.run(options) or 0
    return ending.code
