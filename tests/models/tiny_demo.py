# Copyright (c) mmfdta authors.
"""Settings that make the demo's two trainings tiny."""

DATA = 'train_dataloader.dataset.options'
SIZES = dict(train=2, val=1, test=1, frames=20, width=96, height=64)
SETTINGS = {
    'train_cfg.max_iters': 2,
    # So that the weights show what each training started from.
    'optim_wrapper.optimizer.lr': 0.0,
    'param_scheduler.0.end': 1,
    'param_scheduler.1.begin': 1,
    'default_hooks.logger.interval': 1,
    'train_dataloader.batch_size': 1,
}


def settings(**changes: object) -> dict[str, object]:
    """Return all settings.

    Args:
        **changes: Settings that are other than in `SETTINGS`.
    """
    data = {f'{DATA}.{name}': size for name, size in SIZES.items()}
    return {**SETTINGS, **data, **changes}


def command_line() -> list[str]:
    """Return the settings as ``--cfg-options`` takes them."""
    return [f'{name}={value}' for name, value in settings().items()]
