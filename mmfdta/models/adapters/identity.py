# Copyright (c) mmfdta authors.
"""Identity Adapter: embeddings that distinguish identities."""

from mmdet.registry import MODELS
from mmdet.utils import OptConfigType, OptMultiConfig
from mmengine.model import BaseModule
from torch import Tensor, nn


@MODELS.register_module()
class IdentityAdapter(BaseModule):
    """Project matched object embeddings and contrast them over a clip.

    Used only in training: the gradient of the contrastive loss separates the detector's
    embeddings. It does not run at test time. Section 3.4 of the paper.

    Args:
        embed_dims: Channels C of the object embeddings.
        hidden_channels: Channels of the projection.
        num_layers: Linear layers of the projection.
        loss: Config of the contrastive loss.
        chunk_frames: The loss compares detections within chunks of this many
            consecutive frames of a clip and sums over the chunks, or takes their mean
            with ``loss.reduction='mean'``.
        warmup_epochs: Number of first epochs without the loss. In a run that counts
            iterations it means passes over the data, which ``ResumableIterTrainLoop``
            counts.
        init_cfg: Initialisation config.

    Raises:
        ValueError: If there is no layer, or a chunk has no frame.
    """

    # The optimiser does not change the projection while there is no loss, see
    # `mmfdta.engine.GroupClipOptimWrapper`.
    may_rest = True

    def __init__(
        self,
        embed_dims: int = 256,
        hidden_channels: int = 256,
        num_layers: int = 3,
        loss: OptConfigType = None,
        chunk_frames: int = 10,
        warmup_epochs: int = 1,
        init_cfg: OptMultiConfig = None,
    ) -> None:
        super().__init__(init_cfg)
        for name, number in dict(
            num_layers=num_layers, chunk_frames=chunk_frames
        ).items():
            if number < 1:
                raise ValueError(
                    f'model.identity_adapter.{name} = {number}, expected at least 1'
                )
        layers: list[nn.Module] = [nn.Linear(embed_dims, hidden_channels)]
        for _ in range(num_layers - 1):
            layers += [
                nn.ReLU(inplace=True),
                nn.Linear(hidden_channels, hidden_channels),
            ]
        self.mlp = nn.Sequential(*layers)
        self.loss_contrastive = MODELS.build(
            loss or dict(type='QualityAwareContrastiveLoss')
        )
        self.chunk_frames = chunk_frames
        self.warmup_epochs = warmup_epochs

    def forward(self, embeddings: Tensor) -> Tensor:
        """Project object embeddings (..., C) for comparison."""
        return self.mlp(embeddings)

    def loss(
        self,
        embeddings: Tensor,
        identities: Tensor,
        qualities: Tensor,
        clip_idx: Tensor,
        frame_idx: Tensor,
        num_clips: int,
        clip_length: int,
    ) -> Tensor:
        """Contrast the matched detections of each chunk of frames.

        Args:
            embeddings: Matched query embeddings (M, C).
            identities: Identity of each, unique within its clip, (M,).
            qualities: Match quality (GIoU) of each, (M,).
            clip_idx: Clip of each in the batch, (M,).
            frame_idx: Frame of each in its clip, (M,).
            num_clips: Clips in the batch; the loss is their mean.
            clip_length: Frames T in a clip.

        Returns:
            Scalar loss.
        """
        chunks_per_clip = -(-clip_length // self.chunk_frames)
        chunk_ids = clip_idx * chunks_per_clip + frame_idx // self.chunk_frames
        # A mean over the chunks of one clip: the next line takes that over the clips.
        loss = self.loss_contrastive(
            self(embeddings),
            identities,
            qualities,
            chunk_ids=chunk_ids,
            avg_factor=chunks_per_clip,
        )
        return loss / num_clips
