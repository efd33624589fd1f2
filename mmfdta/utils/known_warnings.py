# Copyright (c) mmfdta authors.
"""Warnings of other packages about which a user can do nothing."""

import warnings

# Beginning of the message, category and module that warns; a comment gives the source.
KNOWN_WARNINGS = (
    # MMDetection, on import; MOTMetric and CocoMetric do not need the package.
    ('faster_coco_eval is not installed', UserWarning, 'mmdet'),
    # PyTorch, about a call in MMDetection and MMCV; the default does not change.
    ('torch.meshgrid: in an upcoming release', UserWarning, 'torch'),
    # MMEngine's singletons, built again for every run of a process.
    (r"<class '.*'> instance named of ", UserWarning, 'mmengine'),
    # MMEngine's calls of functions that PyTorch and Python have renamed.
    ('torch.cuda.amp', FutureWarning, ''),
    ('`torch.cuda.amp', FutureWarning, ''),
    ('pkg_resources is deprecated', UserWarning, ''),
    ('On January 1, 2023, MMCV will release', UserWarning, 'mmcv'),
    ('Fail to import ``MultiScaleDeformableAttention``', UserWarning, 'mmcv'),
    # MMEngine, about the threads of each process of a job.
    ('Setting (OMP|MKL)_NUM_THREADS environment variable', UserWarning, ''),
    # PyTorch, about an argument of MMEngine's wrapper of distributed models.
    ('`broadcast_buffers` is deprecated', FutureWarning, ''),
    # PyTorch, about a scheduler that MMEngine steps itself.
    ('Detected call of `lr_scheduler.step', UserWarning, 'torch'),
)


def quiet_known_warnings() -> None:
    """Hide the known warnings in this process; commands call it."""
    for message, category, module in KNOWN_WARNINGS:
        warnings.filterwarnings('ignore', message, category, module)
