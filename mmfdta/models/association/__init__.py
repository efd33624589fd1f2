# Copyright (c) mmfdta authors.
"""Association: by trajectories and ID words, or by queries that follow objects."""

from mmfdta.utils.environment import prepare_mmdet

prepare_mmdet()

from .box_encoder import BoxEncoder, box_rows
from .embedding_sharing import EmbeddingProjection, EmbeddingSharing
from .id_decoder import IDDecoder
from .query_interaction import QueryInteraction, QuerySampling
from .trajectories import Sequences, TrajectoryModeling, build_sequences

__all__ = [
    'BoxEncoder',
    'EmbeddingProjection',
    'EmbeddingSharing',
    'IDDecoder',
    'QueryInteraction',
    'QuerySampling',
    'Sequences',
    'TrajectoryModeling',
    'box_rows',
    'build_sequences',
]
