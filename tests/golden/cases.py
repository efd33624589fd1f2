# Copyright (c) mmfdta authors.
"""Run any golden case on this project's modules.

`run_case` builds the modules that a case speaks of with formula weights, sent
through the checkpoint converter under their released names, and returns arrays
under the names of ``data/README.md``. It takes any consistent sizes, seeds and
settings, not only those of the files.
"""

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np

# However this file is loaded, the files beside it are found.
sys.path.insert(0, str(Path(__file__).parent))

from case_assignment import run_assignment
from case_association import run_id_decoder, run_temporal, run_trajectory_modeling
from case_detector import run_detr, run_spatial
from case_end_to_end import run_end_to_end
from case_id_targets import run_id_targets
from case_losses import run_loss_contrastive, run_loss_depth, run_loss_id
from case_set_loss import run_loss_set
from case_train_step import run_train_step

Arrays = dict[str, np.ndarray]

CASES: dict[str, Callable[[Arrays, dict, int], Arrays]] = {
    'assignment': run_assignment,
    'detr': run_detr,
    'end_to_end': run_end_to_end,
    'id_decoder': run_id_decoder,
    'id_targets': run_id_targets,
    'loss_contrastive': run_loss_contrastive,
    'loss_depth': run_loss_depth,
    'loss_id': run_loss_id,
    'loss_set': run_loss_set,
    'spatial': run_spatial,
    'temporal': run_temporal,
    'train_step': run_train_step,
    'trajectory_modeling': run_trajectory_modeling,
}


def run_case(name: str, inputs: Arrays, settings: dict, seed: int) -> Arrays:
    """Compute a golden case.

    Args:
        name (str): The file's stem, a key of `CASES`.
        inputs (dict): Its ``in_*`` arrays without the prefix.
        settings (dict): Its parsed ``meta``.
        seed (int): Seed of the weights.

    Returns:
        dict: Arrays under the names of the ``out_*`` entries without the prefix.
    """
    return CASES[name](inputs, settings, seed)
