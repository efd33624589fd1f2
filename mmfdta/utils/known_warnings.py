# Copyright (c) mmfdta authors.
"""Warnings of other packages that a user can do nothing about, in one list."""

import warnings

# Beginning of the message, category and module that warns; and why it is left out.
KNOWN_WARNINGS = (
    # MMDetection, when imported; MOTMetric and CocoMetric do without the package.
    ('faster_coco_eval is not installed', UserWarning, 'mmdet'),
    # Of PyTorch about a call in MMDetection and MMCV; the default does not change.
    ('torch.meshgrid: in an upcoming release', UserWarning, 'torch'),
    # MMEngine's singletons, built anew for every run of a process.
    (r"<class '.*'> instance named of ", UserWarning, 'mmengine'),
    # MMEngine's own calls of what PyTorch and Python have renamed.
    ('torch.cuda.amp', FutureWarning, ''),
    ('`torch.cuda.amp', FutureWarning, ''),
    ('pkg_resources is deprecated', UserWarning, ''),
    ('On January 1, 2023, MMCV will release', UserWarning, 'mmcv'),
    ('Fail to import ``MultiScaleDeformableAttention``', UserWarning, 'mmcv'),
    # MMEngine on the threads of each process of a job.
    ('Setting (OMP|MKL)_NUM_THREADS environment variable', UserWarning, ''),
    # PyTorch on what MMEngine's wrapper of distributed models hands it.
    ('`broadcast_buffers` is deprecated', FutureWarning, ''),
    # PyTorch on a scheduler that MMEngine steps itself.
    ('Detected call of `lr_scheduler.step', UserWarning, 'torch'),
)


def quiet_known_warnings() -> None:
    """Leave the known warnings out in this process; commands call it."""
    for message, category, module in KNOWN_WARNINGS:
        warnings.filterwarnings('ignore', message, category, module)
