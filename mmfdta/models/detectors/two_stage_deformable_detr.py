# Copyright (c) mmfdta authors.
"""MMDetection's two-stage Deformable DETR at any width."""

from mmdet.models.detectors import DeformableDETR
from mmdet.registry import MODELS
from torch import Tensor


@MODELS.register_module()
class TwoStageDeformableDETR(DeformableDETR):
    """MMDetection's class, with encodings of proposals that fit its linear layer.

    MMDetection encodes their four numbers as 512 channels for every ``embed_dims``,
    but its layer expects ``2 * embed_dims``. With 256 both classes are equal.
    """

    def get_proposal_pos_embed(self, proposals: Tensor) -> Tensor:
        """Encode proposals as sines and cosines.

        Args:
            proposals: Logits of cxcywh, (F, Q, 4).

        Returns:
            (F, Q, 2 * embed_dims).
        """
        return DeformableDETR.get_proposal_pos_embed(proposals, self.embed_dims // 2)
