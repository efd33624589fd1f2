# Copyright (c) mmfdta authors.
"""What has to happen before anything of MMDetection is imported."""

from functools import cache

from .environment import check_environment, find_environment, import_mmdet


@cache
def prepare_mmdet() -> None:
    """Make MMDetection importable, and checkpoints loadable; once in a process.

    Checks the installed family of packages, puts the stand-in for ``mmcv._ext`` in
    where MMCV's operators are not compiled, and declares what MMEngine's training
    states consist of safe to load. The order matters: ``mmdet.structures`` and
    ``mmdet.models`` ask for ``mmcv._ext`` when they are imported.

    Raises:
        ImportError: If MMEngine, MMCV, MMDetection or PyTorch is missing.
    """
    check_environment(find_environment())
    from .mmcv_ext import install_operators

    install_operators()
    import_mmdet()
    from .safe_loading import allow_training_state

    allow_training_state()
