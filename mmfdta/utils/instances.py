# Copyright (c) mmfdta authors.
"""Selects rows of instances with columns on the host and on a device."""

import torch
from mmengine.structures import InstanceData
from torch import Tensor

from .transfers import to_device


def take_rows(instances: InstanceData, rows: Tensor) -> InstanceData:
    """Select rows without waiting for a device, as ``instances[rows]`` would.

    Args:
        instances: Columns of n rows: tensors on any device.
        rows: int64 (m,) indices, or bool (n,), on the host.

    Returns:
        The rows; each column stays on its device.
    """
    if rows.dtype == torch.bool:
        rows = rows.nonzero()[:, 0]
    here, there = InstanceData(metainfo=instances.metainfo), {}
    for name, column in instances.items():
        if isinstance(column, Tensor) and column.device.type != 'cpu':
            there[name] = column
        else:
            here.set_field(column, name)
    taken = here[rows]
    for name, column in there.items():
        (index,) = to_device([rows], column.device)
        taken.set_field(column.index_select(0, index), name)
    return taken
