# Copyright (c) mmfdta authors.
"""The command line `python -m mmfdta COMMAND`, which works from any install."""

import importlib
import sys

# Command -> (module with `main(arguments)`, what it does). Imported when called.
COMMANDS = {
    'train': ('mmfdta.apis.train', 'train the model of a config'),
    'test': ('mmfdta.apis.test', 'track and score with a checkpoint'),
    'track': ('mmfdta.apis.track', 'track a video, folder or camera'),
    'evaluate': ('mmfdta.evaluation.cli', 'score tracks in MOTChallenge text'),
    'benchmark': ('mmfdta.apis.benchmark', 'compare several trackers on a data set'),
    'new-tracker': ('mmfdta.apis.new_tracker', 'start a tracker of your own'),
    'convert': ('mmfdta.apis.convert', 'convert a checkpoint of another project'),
    'check-data': ('mmfdta.datasets.check_data', 'check a data set and its depth maps'),
    'prepare-dataset': (
        'mmfdta.datasets.prepare',
        'write the annotations of a data set',
    ),
    'generate-depth': (
        'mmfdta.datasets.generate',
        'write the depth maps of a data set',
    ),
    'similarity': (
        'mmfdta.apis.analysis.similarity',
        'measure how alike objects are',
    ),
    'plot-tracks': ('mmfdta.apis.analysis.plot_tracks', 'draw timelines of tracks'),
    'tune': ('mmfdta.apis.analysis.tune_thresholds', 'search thresholds and protocol'),
    'demo': ('mmfdta.minidance.demo', 'train and compare the small FDTA on MiniDance'),
    'env': ('mmfdta.apis.env', 'show versions and the state of the operators'),
}


def usage() -> str:
    """Return the list of commands."""
    lines = [f'  {name:<16} {text}' for name, (_, text) in COMMANDS.items()]
    return '\n'.join(
        [
            'usage: python -m mmfdta COMMAND [ARGUMENTS]',
            '',
            *lines,
            '',
            'python -m mmfdta COMMAND --help shows the arguments of a command.',
        ]
    )


def main(arguments: list[str]) -> int | None:
    """Run one command.

    Args:
        arguments: Name of the command and its arguments.

    Returns:
        Exit code; None counts as 0.
    """
    if not arguments or arguments[0] in ('-h', '--help'):
        print(usage())
        return 0 if arguments else 2
    name = arguments[0]
    if name not in COMMANDS:
        print(f'mmfdta: there is no command {name!r}\n\n{usage()}', file=sys.stderr)
        return 2
    return importlib.import_module(COMMANDS[name][0]).main(arguments[1:])


if __name__ == '__main__':
    sys.exit(main(sys.argv[1:]))
