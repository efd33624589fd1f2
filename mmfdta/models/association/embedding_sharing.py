# Copyright (c) mmfdta authors.
"""Controls which losses of association reach the detector, and projects embeddings."""

import math
from typing import Any

from mmdet.registry import MODELS
from mmdet.utils import OptConfigType, OptMultiConfig
from mmengine.logging import MessageHub
from mmengine.model import BaseModule
from torch import Tensor, nn

from ..layers import scale_gradient


@MODELS.register_module()
class EmbeddingProjection(BaseModule):
    """Map the detector's embeddings to those of association.

    A linear map, or an MLP with GELU, of each embedding. The channels may differ from
    the detector's; the other parts of association have those of the result.

    Args:
        embed_dims: Channels of the detector's embeddings; inside FDTA the detector's.
        out_channels: Channels C of the result; inside FDTA by default those of the
            other parts of association. None: as many as ``embed_dims``.
        hidden_channels: Channels between the layers; None uses ``out_channels``.
        num_layers: Number of linear layers; 1 is a linear map.
        norm: Apply LayerNorm to the result.
        residual: Add the input. The last layer starts at zero, so that without ``norm``
            the projection starts as the identity: association that was trained without
            a projection continues from there.
        init_cfg: Initialisation config.

    Raises:
        ValueError: If there is no layer, or a residual has other channels than its
            input.
    """

    def __init__(
        self,
        embed_dims: int = 256,
        out_channels: int | None = None,
        hidden_channels: int | None = None,
        num_layers: int = 1,
        norm: bool = True,
        residual: bool = False,
        init_cfg: OptMultiConfig = None,
    ) -> None:
        super().__init__(init_cfg)
        key = 'model.embedding_sharing.projection'
        out_channels = embed_dims if out_channels is None else out_channels
        if num_layers < 1:
            raise ValueError(f'{key}.num_layers = {num_layers}, expected at least 1')
        if residual and out_channels != embed_dims:
            raise ValueError(
                f'{key}.residual = True adds the {embed_dims} channels of the '
                f'detector, but {key}.out_channels = {out_channels}; leave one of the '
                'two out'
            )
        between = out_channels if hidden_channels is None else hidden_channels
        sizes = [embed_dims, *[between] * (num_layers - 1), out_channels]
        layers: list[nn.Module] = []
        for i in range(num_layers):
            layers += [nn.Linear(sizes[i], sizes[i + 1]), nn.GELU()]
        self.layers = nn.Sequential(*layers[:-1])
        self.norm = nn.LayerNorm(out_channels) if norm else nn.Identity()
        self.residual = residual

    def init_weights(self) -> None:
        """Xavier-initialise the layers, the last one of a residual with zeros."""
        super().init_weights()
        linear = [part for part in self.layers if isinstance(part, nn.Linear)]
        for layer in linear:
            nn.init.xavier_uniform_(layer.weight)
            nn.init.zeros_(layer.bias)
        if self.residual:
            nn.init.zeros_(linear[-1].weight)

    def forward(self, embeddings: Tensor) -> Tensor:
        """Project embeddings (..., embed_dims) to (..., C)."""
        found = self.layers(embeddings)
        return self.norm(embeddings + found if self.residual else found)


@MODELS.register_module()
class EmbeddingSharing(BaseModule):
    """Decides what the detector learns from the losses of association.

    By default it learns from all of them, as in the paper, and nothing is computed
    between detector and association. Otherwise each loss has a factor for its gradient
    in the detector: 1 is joint training, 0 detaches, and values between weaken it. In a
    warm-up all factors are 0, so that association can adapt to embeddings that only
    detection changes. Factors change neither values nor the training of association.

    With a projection the losses train its result, and reach the detector through it.
    Detections still have the detector's own embeddings, as for every tracker on that
    detector, and association projects them.

    Args:
        id_gradient: Factor of the ID loss's gradient.
        contrastive_gradient: Factor of the contrastive loss's gradient. With 0 and
            without a projection that loss only trains its own MLP.
        warmup_epochs: Number of first epochs in which both are 0. In a run that counts
            iterations it means passes over the data, which ``ResumableIterTrainLoop``
            counts.
        warmup_iters: Number of first iterations in which both are 0; with both kinds of
            warm-up the longer one applies.
        projection: Config of :class:`EmbeddingProjection`.
        init_cfg: Initialisation config.

    Raises:
        ValueError: If a number is negative or not finite.
    """

    def __init__(
        self,
        id_gradient: float = 1.0,
        contrastive_gradient: float = 1.0,
        warmup_epochs: int = 0,
        warmup_iters: int = 0,
        projection: OptConfigType = None,
        init_cfg: OptMultiConfig = None,
    ) -> None:
        super().__init__(init_cfg)
        numbers = dict(
            id_gradient=id_gradient,
            contrastive_gradient=contrastive_gradient,
            warmup_epochs=warmup_epochs,
            warmup_iters=warmup_iters,
        )
        for name, number in numbers.items():
            if not 0 <= number < math.inf:
                raise ValueError(
                    f'model.embedding_sharing.{name} = {number}, expected a finite '
                    'number that is not negative'
                )
        self.id_gradient = id_gradient
        self.contrastive_gradient = contrastive_gradient
        self.warmup_epochs = warmup_epochs
        self.warmup_iters = warmup_iters
        self.projection = None
        if projection is not None:
            self.projection = MODELS.build(projection)

    def forward(self, embeddings: Tensor) -> Tensor:
        """Map the detector's embeddings (..., D) to association's (..., C)."""
        return embeddings if self.projection is None else self.projection(embeddings)

    def for_id_loss(self, embeddings: Tensor) -> Tensor:
        """Map the detector's embeddings (..., D) to (..., C) for the ID loss."""
        return self._share(embeddings, self.id_gradient)

    def for_contrastive_loss(self, embeddings: Tensor) -> Tensor:
        """Map the detector's embeddings (..., D) to (..., C) for that loss."""
        return self._share(embeddings, self.contrastive_gradient)

    def _share(self, embeddings: Tensor, factor: float) -> Tensor:
        hub = MessageHub.get_current_instance()
        ends = dict(epoch=self.warmup_epochs, iter=self.warmup_iters)
        # Outside a run there are no counts.
        counts = [(hub.get_info(name), end) for name, end in ends.items() if end]
        if any(now is not None and now < end for now, end in counts):
            factor = 0.0
        return self(scale_gradient(embeddings, factor))


def with_types(sharing: OptConfigType) -> dict[str, Any]:
    """Copy a config of :class:`EmbeddingSharing` and add the types that it leaves out.

    Args:
        sharing: The config, with or without ``type``; None is the default.
    """
    sharing = {'type': 'EmbeddingSharing', **(sharing or {})}
    projection = sharing.get('projection')
    if isinstance(projection, dict):
        sharing['projection'] = {'type': 'EmbeddingProjection', **projection}
    return sharing
