# Copyright (c) mmfdta authors.
"""Track and score with a checkpoint; `mmfdta test` is this."""

from pathlib import Path

from mmengine.config import Config
from mmengine.dist import is_main_process

from mmfdta.checkpoints import (
    CheckpointError,
    CheckpointMismatchError,
    matching_weights,
    read_content,
)
from mmfdta.engine import ExactWeightsHook, adapt_to_config
from mmfdta.ops import compile_detector

from .config import build_runner
from .model_loading import read_parts
from .reproduction import deciding_settings, say_published
from .weights import find_checkpoint


def write_tracks_to(config: Config, folder: str | None) -> None:
    """Make the metrics of the config write their tracks.

    Args:
        config: Config of the test.
        folder: Where to; None leaves a metric's own ``out_dir`` and takes
            ``<work_dir>/tracks`` for one that has none.

    Raises:
        ValueError: If a folder is asked for and no metric writes tracks.
    """
    evaluators = config.get('test_evaluator') or []
    if isinstance(evaluators, dict):
        evaluators = [evaluators]
    writing = [evaluator for evaluator in evaluators if evaluator.type == 'MOTMetric']
    if folder and not writing:
        raise ValueError('--out needs a MOTMetric in the test_evaluator of the config')
    for evaluator in writing:
        default = evaluator.get('out_dir') or str(Path(config.work_dir) / 'tracks')
        evaluator.out_dir = folder or default


def test(
    config: Config, checkpoint: str | None, out: str | None = None
) -> dict[str, float]:
    """Track and score; of published weights, say whether the scores are those, too.

    Args:
        config: See `load_config`; it is checked first.
        checkpoint: What `find_checkpoint` takes; None tests the initial weights.
        out: Folder for the tracks, see `write_tracks_to`.

    Returns:
        Scores by name.

    Raises:
        ConfigError: If the config cannot work.
        FileNotFoundError: If there is no such checkpoint.
        DownloadError: If it cannot be fetched.
        CheckpointError: If the checkpoint cannot be read or is another model's.
        ValueError: If ``out`` is given and no metric writes tracks, or the detector
            cannot be compiled.
    """
    content = None
    if checkpoint is not None:
        checkpoint = str(find_checkpoint(checkpoint))
        content = read_content(checkpoint)
    write_tracks_to(config, out)
    config.resume = False
    config.load_from = checkpoint
    runner = build_runner(config)
    settings = deciding_settings(config)
    if config.get('compile_detector'):
        compile_detector(getattr(runner.model, 'module', runner.model))
    modules = config.get('checkpoint_modules')
    parts = {} if checkpoint is None else read_parts(config, runner.model)
    runner.register_hook(ExactWeightsHook(modules, parts))
    if checkpoint is None and next(runner.model.parameters(), None) is not None:
        runner.logger.warning('Testing random weights: the scores mean nothing.')
    try:
        if content is not None:
            # MMEngine reads the data first.
            content, _ = adapt_to_config(content, runner.model, config)
            matching_weights(runner.model, content, modules, parts)
            del content
        scores = runner.test()
    except CheckpointMismatchError as error:
        raise CheckpointMismatchError(
            f'{checkpoint} does not fit the model of {config.filename}: {error}'
        ) from None
    except CheckpointError as error:
        raise CheckpointError(f'{checkpoint}: {error}') from None
    if checkpoint is not None and is_main_process():
        say_published(runner, Path(checkpoint), settings, scores)
    return scores
