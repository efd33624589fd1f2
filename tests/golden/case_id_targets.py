# Copyright (c) mmfdta authors.
"""Golden case ``id_targets``."""

import numpy as np
import torch

from mmfdta.datasets import make_id_targets

FIELDS = [
    f'{side}_{field}'
    for side in ('trajectory', 'unknown')
    for field in ('id_labels', 'id_masks', 'ann_idxs')
]


class _ReleasedSelection:
    """Chooses identities as the released code does from the same seed.

    That code permutes its columns, in the order of a Python set, with PyTorch's
    generator; ours ascend by identity and come from NumPy's.
    """

    def __init__(self, columns: list[int], seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.rank = np.argsort(np.argsort(columns))
        torch.manual_seed(seed)

    def permutation(self, n: int) -> np.ndarray:
        return self.rank[torch.randperm(n).numpy()]

    def __getattr__(self, name: str):
        return getattr(self.rng, name)


def _set_order(ids_per_frame: list[np.ndarray]) -> list[int]:
    columns: set[int] = set()
    for ids in ids_per_frame:
        columns.update(set(ids.tolist()))
    return list(columns)


def _as_released(
    ids_per_frame: list[np.ndarray], settings: dict, occlusion: float, switch: float
) -> dict[str, np.ndarray]:
    columns = _set_order(ids_per_frame)
    rng = _ReleasedSelection(columns, settings['seed'])
    targets = make_id_targets(
        ids_per_frame,
        settings['groups'],
        settings['vocab'],
        settings['num_training_ids'],
        occlusion,
        switch,
        rng,
    )
    chosen = targets.column_ids.tolist()
    if len(chosen) == len(columns):
        order = [chosen.index(i) for i in columns]
    else:
        torch.manual_seed(settings['seed'])
        picked = torch.randperm(len(columns))[: len(chosen)].tolist()
        order = [chosen.index(columns[i]) for i in picked]
    outputs = {name: getattr(targets, name)[..., order] for name in FIELDS}
    shape = outputs['unknown_id_masks'].shape
    times = np.broadcast_to(np.arange(shape[1])[:, None], shape)
    outputs |= {f'{side}_times': times for side in ('trajectory', 'unknown')}
    outputs['column_object_ids'] = targets.column_ids[order]
    return outputs


def run_id_targets(inputs: dict, settings: dict, seed: int) -> dict[str, np.ndarray]:
    """Targets without augmentation, and with both at one half."""
    ids = [row[row >= 0] for row in inputs['ids_per_frame']]
    outputs = _as_released(ids, settings, 0.0, 0.0)
    augmented = _as_released(ids, settings, 0.5, 0.5)
    return outputs | {f'aug_{k}': v for k, v in augmented.items()}
