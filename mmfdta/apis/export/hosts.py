# Copyright (c) mmfdta authors.
"""How the host of a QueryDetector runs in a graph.

MMDetection reads the sizes of levels and frames off tensors and samples, where an
exporter sees numbers and not sizes that may change. What does so is written out here on
sizes; layers, decoders and heads are MMDetection's own.
"""

from collections.abc import Callable
from typing import Any

import torch
from mmdet.models.detectors import DETR, DINO, DeformableDETR, SparseRCNN
from mmdet.models.layers import DeformableDetrTransformerEncoder
from torch import Tensor, nn

from mmfdta.models.detectors import DetrInterface, QueryDetector
from mmfdta.models.detectors.base import (
    LevelShapes,
    level_tensors,
    padding_of,
    token_points,
)
from mmfdta.models.detectors.sparse_rcnn_interface import SparseRCNNInterface

from .sparse_rcnn import check_pooling, decode_sparse_rcnn

Decode = Callable[
    [nn.Module, tuple[Tensor, ...], tuple[int, int], Tensor | None], dict[str, Any]
]
"""Of a host, its neck levels (F, C, h, w), height and width of the padded frames, and
their sizes without padding, int64 (F, 2), or None: what :meth:`DetrInterface.decode`
returns."""


def find_decode(detector: QueryDetector) -> Decode:
    """Find how a detector's host runs in a graph.

    Args:
        detector: The detector.

    Returns:
        What takes the place of :meth:`DetrInterface.decode`.

    Raises:
        ValueError: If nothing here stands for what the host computes.
    """
    host, interface = detector.host, type(detector.interface)
    if interface is SparseRCNNInterface and type(host) is SparseRCNN:
        check_pooling(host)
        return decode_sparse_rcnn
    if interface is DetrInterface:
        for kind, decode, replaced in _KNOWN:
            if isinstance(host, kind) and _has_methods(host, kind, replaced):
                return decode
    name = type(host).__name__
    if interface is not DetrInterface:
        name = f'{name} read by {interface.__name__}'
    raise ValueError(
        f'model.detector.host: found {name}, which cannot be exported; DETR, '
        'ConditionalDETR, DABDETR, DeformableDETR, TwoStageDeformableDETR, DINO, '
        'ZooDINO and SparseRCNN can; track with the config itself'
    )


def decode_single_level(
    host: DETR,
    feats: tuple[Tensor, ...],
    shape: tuple[int, int],
    sizes: Tensor | None,
) -> dict[str, Any]:
    """Run DETR, Conditional DETR or DAB-DETR, see :data:`Decode`."""
    feat = feats[-1]
    mask = None
    if sizes is None:
        positions = host.positional_encoding(None, input=feat)
    else:
        (mask,), _ = padding_of(sizes, shape, ((feat.shape[-2], feat.shape[-1]),))
        positions = host.positional_encoding(mask)
        mask = mask.flatten(1)
    tokens, positions = (x.flatten(2).transpose(1, 2) for x in (feat, positions))
    encoded = host.forward_encoder(feat=tokens, feat_mask=mask, feat_pos=positions)
    queries, head_inputs = host.pre_decoder(**encoded)
    decoded = host.forward_decoder(**queries, memory_mask=mask, memory_pos=positions)
    return head_inputs | decoded


def decode_levels(
    host: DeformableDETR,
    feats: tuple[Tensor, ...],
    shape: tuple[int, int],
    sizes: Tensor | None,
) -> dict[str, Any]:
    """Run Deformable DETR or DINO, see :data:`Decode`."""
    shapes = tuple((feat.shape[-2], feat.shape[-1]) for feat in feats)
    mask = None
    if sizes is None:
        maps = [host.positional_encoding(None, input=feat[:1]) for feat in feats]
        ratios = feats[0].new_ones(feats[0].shape[0], len(feats), 2)
    else:
        masks, ratios = padding_of(sizes, shape, shapes)
        maps = [host.positional_encoding(mask) for mask in masks]
        mask = torch.cat([mask.flatten(1) for mask in masks], dim=1)
    memory = torch.cat([feat.flatten(2).transpose(1, 2) for feat in feats], dim=1)
    positions = [
        position.flatten(2).transpose(1, 2) + embed
        for position, embed in zip(maps, host.level_embed, strict=True)
    ]
    spatial_shapes, starts = level_tensors(shapes, memory.device)
    levels = dict(
        key_padding_mask=mask,
        spatial_shapes=spatial_shapes,
        level_start_index=starts,
        valid_ratios=ratios,
        level_shapes=shapes,
    )
    points = token_points(ratios, shapes)
    query_pos = torch.cat(positions, dim=1)
    for layer in host.encoder.layers:
        memory = layer(
            query=memory, query_pos=query_pos, reference_points=points, **levels
        )
    if host.as_two_stage:
        queries = _best_tokens(host, memory, mask, shapes)
    else:
        queries, _ = host.pre_decoder(memory, mask, spatial_shapes)
    branches = host.bbox_head.reg_branches if host.with_box_refine else None
    states, references = host.decoder(
        **dict(queries, value=memory, reg_branches=branches, **levels)
    )
    references = list(references)
    if not isinstance(host, DINO):  # whose decoder returns them all
        references = [queries['reference_points'], *references]
    return dict(hidden_states=states, references=references)


def _best_tokens(
    host: DeformableDETR, memory: Tensor, mask: Tensor | None, shapes: LevelShapes
) -> dict[str, Any]:
    """Let the encoder's best tokens become queries: arguments of the decoder.

    Args:
        host: Of two stages.
        memory: Encoder memory (F, S, C).
        mask: Padding (F, S) bool, True = padding; None without.
        shapes: Of the levels.
    """
    boxes, valid = _token_boxes(memory, mask, shapes)
    unusable = ~valid if mask is None else ~valid | mask[..., None]
    offsets = (boxes / (1 - boxes)).log().masked_fill(unusable, torch.inf)
    memory_of_valid = memory.masked_fill(unusable, 0.0)
    tokens = host.memory_trans_norm(host.memory_trans_fc(memory_of_valid))
    head, stage = host.bbox_head, host.decoder.num_layers
    scores = head.cls_branches[stage](tokens)
    # Deformable DETR's first class is "object"; DINO has no such.
    best = scores.max(-1)[0] if isinstance(host, DINO) else scores[..., 0]
    best = best.topk(host.num_queries, dim=1)[1]
    coords = head.reg_branches[stage](tokens) + offsets
    coords = coords.gather(1, best[..., None].expand(-1, -1, 4))
    if isinstance(host, DINO):
        query = host.query_embedding.weight.expand(memory.shape[0], -1, -1)
        return dict(query=query, reference_points=coords.sigmoid(), self_attn_mask=None)
    places = host.pos_trans_norm(host.pos_trans_fc(host.get_proposal_pos_embed(coords)))
    query_pos, query = places.chunk(2, dim=2)
    return dict(query=query, query_pos=query_pos, reference_points=coords.sigmoid())


def _token_boxes(
    memory: Tensor, mask: Tensor | None, shapes: LevelShapes
) -> tuple[Tensor, Tensor]:
    """Boxes that tokens stand for, and whether they lie in the image.

    Returns:
        (1 or F, S, 4) cxcywh in 0..1, and bool (1 or F, S, 1).
    """
    boxes, start = [], 0
    for level, (height, width) in enumerate(shapes):
        y, x = torch.meshgrid(
            *(torch.arange(n, device=memory.device) + 0.5 for n in (height, width)),
            indexing='ij',
        )
        x, y = x.reshape(1, -1), y.reshape(1, -1)
        if mask is None:
            x, y = x / width, y / height
        else:
            seen = ~mask[:, start : start + height * width]
            seen = seen.unflatten(1, (height, width))
            x, y = (
                x / seen[:, :1].sum((1, 2))[:, None],
                y / seen[..., :1].sum((1, 2))[:, None],
            )
            start += height * width
        side = torch.full_like(x, 0.05 * 2.0**level)
        boxes.append(torch.stack([x, y, side, side], dim=-1))
    found = torch.cat(boxes, dim=1)
    return found, ((found > 0.01) & (found < 0.99)).all(-1, keepdim=True)


def _has_methods(host: Any, kind: type, names: tuple[str, ...]) -> bool:
    """Whether a host and its encoder compute what a class does in these methods."""
    encoder = DeformableDetrTransformerEncoder
    if kind is not DETR and type(host.encoder).forward is not encoder.forward:
        return False
    return all(getattr(type(host), name) is getattr(kind, name) for name in names)


_LEVELS = (
    *('forward_transformer', 'pre_transformer', 'forward_encoder', 'pre_decoder'),
    *('gen_encoder_output_proposals', 'forward_decoder'),
)
# A class, how it runs in a graph, and the methods that are written out for that.
_KNOWN: tuple[tuple[type, Decode, tuple[str, ...]], ...] = (
    (DINO, decode_levels, _LEVELS),
    (DeformableDETR, decode_levels, _LEVELS),
    (DETR, decode_single_level, ('forward_transformer', 'pre_transformer')),
)
