# Copyright (c) mmfdta authors.
"""Encodes boxes for association: place, size, score, motion; optionally appearance."""

import math
from collections.abc import Sequence

import torch
from mmdet.registry import MODELS
from mmdet.utils import OptMultiConfig
from mmengine.model import BaseModule
from torch import Tensor, nn

from mmfdta.utils.transfers import to_device

# Columns of a row: cx, cy, w, h in 0..1 of the image, and the score.
BOX_COLUMNS = 5
# Logarithms of sizes are divided by this, so that their range is like that of places.
_LOG_SIZE = 4.0
# Smallest side of a box, relative to the image; smaller sides are set to this.
_SMALLEST = 1e-4
# Pulls a slope towards 0 if it is estimated from few frames.
_RIDGE = 0.02


def box_rows(
    boxes: Tensor, scores: Tensor, size: tuple[int, int], looks: Tensor | None = None
) -> Tensor:
    """Make the rows for :class:`BoxEncoder` from n boxes.

    Args:
        boxes: (n, 4) xyxy in pixels.
        scores: (n,).
        size: Height and width of the image, in pixels.
        looks: Appearance: embeddings (n, C) of the detector; None for boxes only.

    Returns:
        (n, 5 or 5 + C) float32, on the device of the embeddings: cx, cy, w, h in 0..1
        of the image, the score, the embedding.
    """
    height, width = size
    scale = boxes.new_tensor([width, height])
    centre = (boxes[:, :2] + boxes[:, 2:]) / 2 / scale
    extent = (boxes[:, 2:] - boxes[:, :2]) / scale
    rows = torch.cat([centre, extent, scores[:, None]], dim=1).float()
    if looks is None:
        return rows
    (rows,) = to_device([rows], looks.device)
    return torch.cat([rows, looks.float()], dim=1)


@MODELS.register_module()
class BoxEncoder(BaseModule):
    r"""Encode boxes for trajectory modelling and the ID decoder.

    The code of a detection is a linear map of its score and of the sines and cosines of
    its place and logarithmic size at several wavelengths: the dot product of two codes
    falls with the distance of the boxes. The code of an observation of a trajectory
    also has, for each horizon h, how the box moves and where it would be h frames
    later. The motion is the slope of a regression over the observations up to its own
    frame, weighted by :math:`e^{-d/(h + 1)}` at a distance of d frames, so that a short
    horizon follows the last frames and a long one the complete window. The ID decoder
    knows the time between observation and detection, and learns which horizon to use.

    With ``looks_dims`` a linear map of the detector's embeddings is added.

    Args:
        embed_dims: Channels C of the codes; inside :class:`BoxFDTA` the model's.
        looks_dims: Channels of the detector's embeddings (appearance); 0 encodes only
            boxes.
        num_wavelengths: Number of wavelengths of place and size: 2, 1, 1/2, ... images.
        horizons: Horizons in frames.
        init_cfg: Initialisation config.

    Raises:
        ValueError: If there is no wavelength, or a horizon is not positive.
    """

    def __init__(
        self,
        embed_dims: int = 256,
        looks_dims: int = 0,
        num_wavelengths: int = 8,
        horizons: Sequence[int] = (1, 2, 4, 8, 16),
        init_cfg: OptMultiConfig = None,
    ) -> None:
        super().__init__(init_cfg)
        if num_wavelengths < 1:
            raise ValueError(
                f'model.box_encoder.num_wavelengths = {num_wavelengths}, expected at '
                'least 1'
            )
        if not all(horizon > 0 for horizon in horizons):
            raise ValueError(
                f'model.box_encoder.horizons = {tuple(horizons)}, expected numbers of '
                'frames above 0'
            )
        self.looks_dims = looks_dims
        self.num_wavelengths = num_wavelengths
        self.horizons = tuple(horizons)
        waves = 8 * num_wavelengths
        self.detection = nn.Linear(waves + BOX_COLUMNS, embed_dims)
        of_horizon = (waves + 4) * len(self.horizons)
        self.observation = nn.Linear(waves + BOX_COLUMNS + of_horizon, embed_dims)
        self.looks = None
        if looks_dims:
            norm = nn.LayerNorm(looks_dims)
            self.looks = nn.Sequential(norm, nn.Linear(looks_dims, embed_dims))
        self.detection_norm = nn.LayerNorm(embed_dims)
        self.observation_norm = nn.LayerNorm(embed_dims)

    def init_weights(self) -> None:
        """Xavier-initialise the linear layers."""
        super().init_weights()
        for p in self.parameters():
            if p.dim() > 1:
                nn.init.xavier_uniform_(p)

    def encode_detections(self, rows: Tensor) -> Tensor:
        """Encode rows (..., 5 + looks) of detections as (..., C)."""
        states = box_states(rows)
        code = self.detection(self._place(rows, states))
        return self.detection_norm(self._add_looks(code, rows))

    def encode_trajectories(self, rows: Tensor, masks: Tensor) -> Tensor:
        """Encode the observations of trajectories.

        Args:
            rows: (..., T, N, 5 + looks), of consecutive frames.
            masks: (..., T, N) bool, True = missing.

        Returns:
            (..., T, N, C); each code depends on its own and earlier observations. Codes
            of missing observations are finite but meaningless.
        """
        states = box_states(rows)
        parts = [self._place(rows, states)]
        extent = states[..., 2:].mul(_LOG_SIZE).exp()
        for horizon in self.horizons:
            slope = causal_slopes(states, masks, horizon + 1.0)
            relative = torch.cat([slope[..., :2] / extent, slope[..., 2:]], dim=-1)
            parts += [self._waves(states + horizon * slope), torch.tanh(4 * relative)]
        code = self.observation(torch.cat(parts, dim=-1))
        return self.observation_norm(self._add_looks(code, rows))

    def _place(self, rows: Tensor, states: Tensor) -> Tensor:
        score = rows[..., BOX_COLUMNS - 1 : BOX_COLUMNS]
        return torch.cat([self._waves(states), states, score], dim=-1)

    def _waves(self, states: Tensor) -> Tensor:
        """Sines and cosines (..., 8 * wavelengths) of states (..., 4)."""
        steps = torch.arange(self.num_wavelengths, device=states.device)
        angles = states[..., None] * (math.pi * 2.0**steps)
        return torch.cat([angles.sin(), angles.cos()], dim=-1).flatten(-2)

    def _add_looks(self, code: Tensor, rows: Tensor) -> Tensor:
        if self.looks is None:
            return code
        return code + self.looks(rows[..., BOX_COLUMNS:])


def box_states(rows: Tensor) -> Tensor:
    """Return cx, cy and scaled logarithms of w, h (..., 4) of rows (..., 5 or more)."""
    extent = rows[..., 2:4].clamp(min=_SMALLEST).log() / _LOG_SIZE
    return torch.cat([rows[..., :2], extent], dim=-1)


def causal_slopes(states: Tensor, masks: Tensor, scale: float) -> Tensor:
    """Fit lines to the past of every observation.

    Args:
        states: (..., T, N, D).
        masks: (..., T, N) bool, True = missing.
        scale: An observation d frames ago has the weight exp(-d / scale).

    Returns:
        (..., T, N, D), change per frame; 0 with fewer than two observations, and where
        one is missing.
    """
    times = torch.arange(states.shape[-3], device=states.device, dtype=states.dtype)
    distance = times - times[:, None]
    weight = (distance / scale).exp().tril()
    seen = (~masks).to(states)
    values = states * seen[..., None]

    def sums(x: Tensor, power: int) -> Tensor:
        return torch.einsum('ts,...sn->...tn', weight * distance**power, x)

    s0, s1, s2 = (sums(seen, power) for power in range(3))
    flat = values.flatten(-2)
    x0, x1 = (sums(flat, power).unflatten(-1, values.shape[-2:]) for power in (0, 1))
    # Above 0 if at least one observation is not masked.
    spread = s0 * s2 - s1**2 + _RIDGE * s0**2
    slope = (s0[..., None] * x1 - s1[..., None] * x0) / spread[..., None].clamp(
        min=torch.finfo(states.dtype).tiny ** 0.5
    )
    return slope * seen[..., None]
