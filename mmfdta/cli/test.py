# Copyright (c) mmfdta authors.
"""Track and score with a checkpoint."""

import argparse

from .arguments import (
    add_batch_size,
    add_checkpoint,
    add_compile,
    add_keep_embeddings,
    add_precision,
    add_run_arguments,
    meet_launcher,
    named_checkpoint,
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    add_run_arguments(parser)
    add_checkpoint(parser)
    add_precision(parser, 'track in it')
    add_batch_size(parser)
    add_compile(parser)
    parser.add_argument(
        '--out',
        help='folder for the tracks as MOTChallenge text; <work dir>/tracks by default',
    )
    add_keep_embeddings(parser)
    parser.add_argument(
        '--allow-random-weights',
        action='store_true',
        help='test the model as initialised, without a checkpoint',
    )


def choose_checkpoint(
    options: argparse.Namespace, config_names: str | None = None
) -> str | None:
    """Return the checkpoint to load, or None for the initial weights.

    Args:
        options: The parsed arguments.
        config_names: The checkpoint of the config, if no other is named.

    Raises:
        ValueError: If none or two are named.
    """
    named = named_checkpoint(options)
    if named is None and not options.allow_random_weights:
        if config_names:
            return config_names
        raise ValueError(
            'no checkpoint is named; name one, or add --allow-random-weights to test '
            'the model as initialised'
        )
    return named


def run(options: argparse.Namespace) -> None:
    """Test."""
    meet_launcher(options)
    from mmfdta.apis.config import leave_processes, load_config
    from mmfdta.apis.kept_embeddings import keep_embeddings
    from mmfdta.apis.test import test

    config = load_config(
        options.config, options.cfg_options, options.work_dir, options.launcher
    )
    if options.precision:
        config.precision = options.precision
    if options.batch_size is not None:
        config.inference_batch_size = options.batch_size
    if options.compile:
        config.compile_detector = True
    if options.keep_embeddings:
        keep_embeddings(config.model)
    test(config, choose_checkpoint(options, config.get('checkpoint')), options.out)
    leave_processes()
