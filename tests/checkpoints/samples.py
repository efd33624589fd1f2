# Copyright (c) mmfdta authors.
"""Small checkpoints of every family, with the names of the code bases.

Released FDTA names come from ``golden/data/official_keys.json``; those of MOTIP
and Deformable DETR are a subset of them. MOTR's are in
``golden/motr/official_keys.json``. Previous names are written out below.
Tensors are tiny and no two parameters are equal, so a swap shows.
"""

import importlib.util
import json
import re
from collections.abc import Iterable
from pathlib import Path

import torch
from torch import Tensor

_GOLDEN = Path(__file__).parents[1] / 'golden'
_SPEC = importlib.util.spec_from_file_location(
    'formula_weights', _GOLDEN / 'weights.py'
)
weights = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(weights)
DEPTH = re.compile(r'\bdepth_predictor\.|cross_attn_depth\.|norm_depth\.')
NUM_LAYERS = 6
ATTENTION = ('in_proj_weight', 'in_proj_bias', 'out_proj.weight', 'out_proj.bias')
LEAVES = ('weight', 'bias')


def motr_shapes() -> dict[str, list[int]]:
    """Names and shapes of MOTR as released."""
    return dict(json.loads((_GOLDEN / 'motr/official_keys.json').read_text()))


def fill(names: Iterable[str], num_classes: int = 1) -> dict[str, Tensor]:
    """Tiny tensors for released names; those of one parameter are equal."""
    canonical = weights.golden_weights().canonical_name
    shapes = motr_shapes() | weights.official_shapes('dancetrack')
    numbers: dict[str, int] = {}
    state_dict = {}
    for name in names:
        key = canonical(name)
        number = numbers.setdefault(key, len(numbers))
        shape = [min(size, 2) for size in shapes.get(f'detr.{key}', shapes.get(key))]
        if 'class_embed' in name:
            shape[0] = num_classes
        if name.endswith('rel_pos_embeds'):
            shape[0] = NUM_LAYERS
        values = torch.arange(torch.Size(shape).numel(), dtype=torch.float32)
        state_dict[name] = values.reshape(shape) / 1024 + number
    return state_dict


def fdta(num_classes: int = 1) -> dict[str, Tensor]:
    """FDTA as released."""
    return fill(weights.official_shapes('dancetrack'), num_classes)


def motip(num_classes: int = 1) -> dict[str, Tensor]:
    """MOTIP as released: FDTA without its depth branch and temporal adapter."""
    names = (n for n in weights.official_shapes('dancetrack') if not DEPTH.search(n))
    return fill((n for n in names if 'trajectory_embedding' not in n), num_classes)


def deformable_detr(num_classes: int = 91) -> dict[str, Tensor]:
    """Deformable DETR as released."""
    names = [n for n in motip() if n.startswith('detr.')]
    return fill((n.removeprefix('detr.') for n in names), num_classes)


def motr(num_classes: int = 1) -> dict[str, Tensor]:
    """MOTR as released."""
    return fill(motr_shapes(), num_classes)


def two_stage_deformable_detr() -> dict[str, Tensor]:
    """The two-stage variant, which has a head more and no queries of its own."""
    state_dict = deformable_detr(1)
    for name in [n for n in state_dict if 'query_embed' in n or 'reference' in n]:
        del state_dict[name]
    for name in [n for n in state_dict if re.search(r'_embed\.5\.', n)]:
        state_dict[name.replace('_embed.5.', '_embed.6.')] = state_dict[name] + 0.5
    for name in [n for n in state_dict if n.startswith('class_embed.')]:
        state_dict[f'transformer.decoder.{name}'] = state_dict[name]
    for module in ('enc_output', 'enc_output_norm', 'pos_trans', 'pos_trans_norm'):
        for leaf in LEAVES:
            state_dict[f'transformer.{module}.{leaf}'] = torch.rand(2)
    return state_dict


def previous_association_names() -> dict[str, str]:
    """Current name -> previous name of MOTIP's association."""
    old = 'seq_decoder.id_decoder.'
    new = 'id_decoder.'
    pairs = {
        f'{new}word_to_embed.weight': f'{old}word_to_embed.weight',
        f'{new}embed_to_word_layers.0.weight': f'{old}embed_to_word.weight',
        f'{new}rel_pos_embeds': f'{old}related_temporal_embeds',
    }
    for i in range(NUM_LAYERS):
        for leaf in ATTENTION:
            pairs[f'{new}cross_attn_layers.{i}.{leaf}'] = (
                f'{old}decoder_layers.{i}.{leaf}'
            )
            if i:
                name = f'self_attn_layers.{i - 1}.{leaf}'
                pairs[new + name] = old + name
        for leaf in LEAVES:
            pairs[f'{new}cross_attn_norm_layers.{i}.{leaf}'] = (
                f'{old}norm_layers.{i}.{leaf}'
            )
            pairs[f'{new}ffn_norm_layers.{i}.{leaf}'] = (
                f'{old}ffn_layers.{i}.norm.{leaf}'
            )
            for linear in ('linear1', 'linear2'):
                name = f'ffn_layers.{i}.{linear}.{leaf}'
                pairs[new + name] = old + name
            if i:
                pairs[f'{new}self_attn_norm_layers.{i - 1}.{leaf}'] = (
                    f'{old}self_norm_layers.{i - 1}.{leaf}'
                )
    adapter = 'seq_decoder.trajectory_feature_adapter.'
    augmentation = 'seq_decoder.trajectory_augmentation.trajectory_ffn.'
    for leaf in LEAVES:
        for linear in ('linear1', 'linear2'):
            pairs[f'trajectory_modeling.adapter.{linear}.{leaf}'] = (
                f'{adapter}{linear}.{leaf}'
            )
            pairs[f'trajectory_modeling.ffn.{linear}.{leaf}'] = (
                f'{augmentation}{linear}.{leaf}'
            )
        pairs[f'trajectory_modeling.norm.{leaf}'] = f'{adapter}norm.{leaf}'
        pairs[f'trajectory_modeling.ffn_norm.{leaf}'] = f'{augmentation}norm.{leaf}'
    return pairs


def with_previous_names(state_dict: dict[str, Tensor]) -> dict[str, Tensor]:
    """The same tensors under the previous names, which list no ID head twice."""
    pairs = previous_association_names()
    renamed = {}
    for name, tensor in state_dict.items():
        if re.search(r'embed_to_word_layers\.[1-9]', name):
            continue
        if name.startswith('trajectory_embedding.'):
            name = f'seq_decoder.{name}'
        renamed[pairs.get(name, name)] = tensor
    return renamed
