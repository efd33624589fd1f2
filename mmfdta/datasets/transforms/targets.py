# Copyright (c) mmfdta authors.
"""Pipeline step that makes the ID targets of a clip."""

import numpy as np
from mmcv.transforms import BaseTransform
from mmdet.registry import TRANSFORMS

from ..id_targets import make_id_targets


@TRANSFORMS.register_module()
class GenerateIDTargets(BaseTransform):
    """Make the ID targets of a clip; see :func:`make_id_targets`.

    Args:
        num_groups (int): Groups G, each with its own random ID words.
        vocab (int): Number of ID words K.
        num_training_ids (int | None): Most identities of a clip that take
            part; by default K.
        occlusion_prob (float): Chance that an identity is hidden for an
            interval.
        switch_prob (float): Chance that an identity takes part in a frame's
            identity switch.
        class_aware (bool): An identity is a (class, identity) pair and
            switches stay within a class.
    """

    def __init__(
        self,
        num_groups: int = 6,
        vocab: int = 50,
        num_training_ids: int | None = None,
        occlusion_prob: float = 0.5,
        switch_prob: float = 0.5,
        class_aware: bool = False,
    ) -> None:
        num_training_ids = vocab if num_training_ids is None else num_training_ids
        if not 1 <= num_training_ids <= vocab:
            raise ValueError(
                f'GenerateIDTargets(num_training_ids={num_training_ids}): expected '
                f'1..vocab, vocab={vocab}'
            )
        for name, prob in (('occlusion', occlusion_prob), ('switch', switch_prob)):
            if not 0 <= prob <= 1:
                raise ValueError(
                    f'GenerateIDTargets({name}_prob={prob}): expected 0..1'
                )
        self.num_groups = num_groups
        self.vocab = vocab
        self.num_training_ids = num_training_ids
        self.occlusion_prob = occlusion_prob
        self.switch_prob = switch_prob
        self.class_aware = class_aware

    def transform(self, results: dict) -> dict:
        """Make the targets.

        Args:
            results (dict): The clip.

        Returns:
            dict: The clip with ``id_targets``.
        """
        num_frames = len(results['img_paths'])
        cuts = np.searchsorted(results['gt_frames'], np.arange(1, num_frames))
        labels = np.split(results['gt_labels'], cuts) if self.class_aware else None
        results['id_targets'] = make_id_targets(
            np.split(results['gt_ids'], cuts),
            self.num_groups,
            self.vocab,
            self.num_training_ids,
            self.occlusion_prob,
            self.switch_prob,
            results['rng'],
            labels,
        )
        return results
