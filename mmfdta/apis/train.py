# Copyright (c) mmfdta authors.
"""Train the model of a config; `mmfdta train` is this."""

from mmengine.config import Config
from mmengine.dist import all_gather_object, get_world_size
from torch import nn

from mmfdta.checkpoints import (
    PUBLISHED,
    CheckpointError,
    CheckpointMismatchError,
    compare_weights,
    read_content,
    read_state_dict,
)
from mmfdta.checkpoints.comparison import shapes_of
from mmfdta.checkpoints.files import clean_state_dict
from mmfdta.engine import adapt_to_config, resume_from_work_dir
from mmfdta.engine.precision import adapt_optim_wrapper
from mmfdta.structures.whole_files import hash_file

from .config import build_runner
from .config_check import check_initial_weights
from .weights import find_checkpoint


def apply_training_options(
    config: Config,
    resume: str | None = None,
    amp: bool = False,
    auto_scale_lr: bool = False,
    precision: str | None = None,
) -> None:
    """Write the options of the command into a config.

    A run without a checkpoint to continue from starts as the config says.

    Args:
        config: It is changed.
        resume: Checkpoint to continue from; ``auto`` finds the last of the work
            directory.
        amp: Another name of the precision ``fp16``; ``bf16`` where the config has
            ``optim_wrapper.dtype='bfloat16'``.
        auto_scale_lr: Scale the learning rate with the batch size.
        precision: One of `PRECISIONS`; None leaves the config's.

    Raises:
        ValueError: If the config does not have what an option changes, or options
            contradict each other.
    """
    if amp:
        half = config.get('optim_wrapper', {}).get('dtype')
        amp_precision = 'bf16' if half == 'bfloat16' else 'fp16'
        if precision not in (None, amp_precision):
            raise ValueError(
                f'--amp is another name of --precision {amp_precision}, but there is '
                f'--precision {precision}, too; leave one of them out'
            )
        precision = amp_precision
    if precision is not None:
        config.precision = precision
    if auto_scale_lr:
        if 'base_batch_size' not in config.get('auto_scale_lr', {}):
            raise ValueError(
                '--auto-scale-lr needs auto_scale_lr.base_batch_size in the config'
            )
        config.auto_scale_lr.enable = True
        # MMEngine compares the base with the batch of one iteration.
        accumulated = config.optim_wrapper.get('accumulative_counts', 1)
        config.auto_scale_lr.base_batch_size /= accumulated
    if resume and resume != 'auto':
        config.resume = True
        config.load_from = resume
    elif resume or (config.get('resume') and not config.get('load_from')):
        resume_from_work_dir(config)


def check_start(model: nn.Module, config: Config) -> None:
    """Refuse a checkpoint that cannot be read or is another model's.

    Args:
        model: What is to be trained.
        config: Its ``load_from`` is the path of the weights the run starts from. If it
            is to ``resume``, every weight has to fit, else some.

    Raises:
        FileNotFoundError: If there is no such file.
        CheckpointError: If the file cannot be read.
        CheckpointMismatchError: If the weights do not fit.
    """
    checkpoint = config.load_from
    expected = shapes_of(model.state_dict())
    problems = []
    if config.get('resume'):
        found = shapes_of(read_state_dict(checkpoint))
        problems = compare_weights(found, expected)
    else:
        content = read_content(checkpoint)
        try:
            content, _ = adapt_to_config(content, model, config, complete=False)
        except CheckpointError as error:
            raise type(error)(f'load_from={checkpoint}: {error}') from None
        found = shapes_of(clean_state_dict(content))
    if problems:
        raise CheckpointMismatchError(
            f'{checkpoint} does not hold the weights of this model, so that the run '
            f'cannot continue from it: {"; ".join(problems)}. To start a new run from '
            'the weights that fit: --cfg-options load_from=PATH'
        )
    _check_some_fit(f'load_from={checkpoint}', found, expected)


def find_initial_weights(config: Config) -> list[str]:
    """Find the weights that a model is initialised with.

    Args:
        config: ``model.init_cfg`` of the type ``Pretrained`` names a file or published
            weights; it gets their path.

    Returns:
        The paths, without those of which MMEngine takes a part (``prefix``) and those
        that it fetches itself.

    Raises:
        FileNotFoundError: If there are no such weights.
        ValueError: If only a part of published weights is asked for: MMEngine would
            take what fits, be it nothing.
        DownloadError: If they cannot be fetched.
    """
    parts = config.get('model', {}).get('init_cfg') or []
    found = []
    for part in parts if isinstance(parts, list) else [parts]:
        if part.get('type') != 'Pretrained':
            continue
        if part.get('prefix') is not None:
            if part.checkpoint in PUBLISHED:
                raise ValueError(
                    f'model.init_cfg: found prefix={part.prefix!r} with the published '
                    f'weights {part.checkpoint}, expected none: they start the '
                    'complete model'
                )
        elif '://' not in part.checkpoint:
            try:
                part.checkpoint = str(find_checkpoint(part.checkpoint))
            except FileNotFoundError as error:
                raise FileNotFoundError(
                    f'model.init_cfg.checkpoint: {error}; train what it belongs to, or '
                    'name other weights'
                ) from None
            found.append(part.checkpoint)
    return found


def _check_some_fit(
    place: str, found: dict[str, tuple[int, ...]], expected: dict[str, tuple[int, ...]]
) -> None:
    if not any(expected.get(name) == shape for name, shape in found.items()):
        raise CheckpointMismatchError(
            f'{place}: none of its {len(found)} weights fits the model '
            f'(found {next(iter(found))}, expected {next(iter(expected))})'
        )


def check_common_start(config: Config) -> None:
    """Refuse a run whose processes would continue from different checkpoints.

    Args:
        config: With what this process is to ``resume``; the processes are connected.

    Raises:
        CheckpointMismatchError: If the files differ, or some processes have none.
    """
    mine: tuple[str | None, str] = (None, 'the start')
    start = config.get('load_from')
    if start and config.get('resume') and get_world_size() > 1:
        mine = (hash_file(start), start)
    found = all_gather_object(mine)
    for rank, (content, theirs) in enumerate(found):
        if content != found[0][0]:
            raise CheckpointMismatchError(
                f'--resume: process 0 would continue from {found[0][1]}, process '
                f'{rank} from {theirs}, which differs; all machines of the job need '
                'one work dir, on a disk that they share'
            )


def train(config: Config) -> nn.Module:
    """Train.

    Args:
        config: See `load_config`; it is checked first.

    Returns:
        The trained model.

    Raises:
        ConfigError: If the config cannot work.
        ValueError: If its precision and its optimiser wrapper contradict each other.
        FileNotFoundError: If there is no file or published weights ``load_from`` or
            ``model.init_cfg``.
        DownloadError: If weights cannot be fetched.
        CheckpointError: If the file of ``load_from`` or ``model.init_cfg`` cannot be
            read or is another model's.
        NonFiniteLossError: If a loss is NaN or infinite.
    """
    check_initial_weights(config)
    adapt_optim_wrapper(config.get('optim_wrapper'), config.get('precision'))
    if config.get('load_from'):
        config.load_from = str(find_checkpoint(config.load_from))
    initial = find_initial_weights(config)
    runner = build_runner(config)
    check_common_start(config)
    model = getattr(runner.model, 'module', runner.model)
    for path in initial:
        found = shapes_of(read_state_dict(path))
        _check_some_fit(
            f'model.init_cfg.checkpoint={path}', found, shapes_of(model.state_dict())
        )
    if config.get('load_from'):
        check_start(model, config)
    return runner.train()
