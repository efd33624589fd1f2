# Copyright (c) mmfdta authors.
"""Randomness that depends on the iteration and not on what ran before."""

import random

import numpy as np
import torch
from mmdet.registry import HOOKS
from mmengine.dist import get_rank
from mmengine.hooks import Hook
from mmengine.runner import Runner


@HOOKS.register_module()
class IterationSeedHook(Hook):
    """Seed the generators anew before every training iteration.

    The frames that carry gradients, dropout and whatever else is drawn in an
    iteration then follow from the run's seed, the process and the number of the
    iteration, so that a resumed run draws what the interrupted one would have.
    """

    priority = 'VERY_HIGH'

    def before_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: dict | None = None
    ) -> None:
        """Seed Python's, NumPy's and PyTorch's generators."""
        entropy = np.random.SeedSequence([runner.seed, get_rank(), runner.iter])
        seed = int(entropy.generate_state(1)[0])
        random.seed(seed)
        np.random.seed(seed)
        torch.manual_seed(seed)
