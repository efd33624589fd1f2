# Copyright (c) mmfdta authors.
"""The families of checkpoints, and how they are recognised.

A family is a code base with its own parameter names. To add one, write its tables in
`names`, make a `Family` from them and add it to `FAMILIES`.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass

from .files import CheckpointError
from .names import (
    BOX_ALIAS,
    CLASS_ALIAS,
    DETECTOR_RULES,
    DETR_BOX_ALIAS,
    MMDET_RULES,
    MMDET_YOLOX_RULES,
    MMFDTA_RULES,
    MOTR_RULES,
    PREVIOUS_RULES,
    RELEASED_RULES,
    WORD_ALIAS,
    YOLOX_RULES,
)
from .rules import Alias, Rule

TWO_STAGE = 'only a two-stage detector uses it, to make its queries'
COUNTER = 'counts training batches; frozen normalisation does not use it'
NEVER_USED = 'the released code never uses it'
AVERAGED = 'a copy: the weights under their own names are the averaged ones'
CRITERION = 'belongs to the loss of the identity adapter, not in released files'


@dataclass(frozen=True)
class Family:
    """A code base whose checkpoints can be converted.

    Attributes:
        key: Name on the command line.
        title: Name for messages.
        signature: Patterns; each must be found in some parameter name.
        foreign: Patterns; none may be found in any parameter name.
        rules: Names in the family and in mmfdta.
        aliases: Names that list a tensor a second time.
        dropped: Patterns of source names that are not used, and why.
        left_out: Patterns of mmfdta names for which the family has no names, and why;
            None if nothing is converted to the family.
        wrapper: Key of the state dict in a file of the family.
        draws_identity: Whether the model has an identity adapter that files of the
            family do not have.
    """

    key: str
    title: str
    signature: tuple[str, ...]
    rules: tuple[Rule, ...]
    foreign: tuple[str, ...] = ()
    aliases: tuple[Alias, ...] = ()
    dropped: tuple[tuple[str, str], ...] = ()
    left_out: tuple[tuple[str, str], ...] | None = None
    wrapper: str = 'model'
    draws_identity: bool = False

    def owns(self, names: Iterable[str]) -> bool:
        """Return whether a state dict with these names belongs to the family."""
        names = tuple(names)

        def found(pattern: str) -> bool:
            return any(re.search(pattern, name) for name in names)

        return all(map(found, self.signature)) and not any(map(found, self.foreign))

    def why_left_out(self, name: str) -> str | None:
        """Return why the family has no name for an mmfdta tensor, or None."""
        return reason_for(self.left_out or (), name)


_DEFORMABLE = r'\.layers\.\d+\.(self|cross)_attn\.sampling_offsets\.'
_QUERY_INTERACTION = r'^track_embed\.'
_ADAPTERS = r'^detr\.depth_predictor\.|\btrajectory_embedding\.'
# MMDetection 2 and MMTracking keep both sets of weights in one state dict.
EMA = 'ema_'
_AVERAGED = ((rf'^{EMA}', AVERAGED),)
_BATCH_COUNTERS = ((r'\.num_batches_tracked$', COUNTER),)
_TWO_STAGE = (
    (r'^(detr\.)?transformer\.(enc_output|enc_output_norm|pos_trans|pos_trans_norm)\.',
     TWO_STAGE),
)  # fmt: skip
_TRACK_QUERIES = r'^query_interaction\.|\.track_(attn|norm)\.'
_YOLOX = (
    (
        r'^detector\.(backbone\.st(em|age\d)|bbox_head\.multi_level_\w+|neck\.'
        r'(reduce_layers|downsamples|top_down_blocks|bottom_up_blocks|out_convs))\.',
        'YOLOX is another detector',
    ),
)
_NOT_MOTIP = (
    *_YOLOX,
    (r'spatial_adapter|\.depth_(attn|norm)', 'MOTIP has no spatial adapter'),
    (r'^temporal_adapter\.', 'MOTIP has no temporal adapter'),
    (r'^identity_adapter\.', 'MOTIP has no identity adapter'),
    (_TRACK_QUERIES, 'MOTIP has no track queries'),
)
_NOT_YOLOX = ((rf'^(?!{_YOLOX[0][0][1:]})', 'YOLOX is another detector'),)
_NOT_DETECTOR = (
    *_YOLOX,
    (r'^(?!detector\.)', 'not part of the detector'),
    (r'spatial_adapter|\.depth_(attn|norm)', 'Deformable DETR has no depth branch'),
    (_TRACK_QUERIES, 'Deformable DETR has no track queries'),
)

FAMILIES = (
    Family(
        key='mmfdta',
        title='mmfdta',
        signature=(rf'^detector\.((en|de)coder{_DEFORMABLE}|backbone\.stage1\.)',),
        rules=MMFDTA_RULES,
        dropped=_AVERAGED,
        left_out=(),
        wrapper='state_dict',
    ),
    Family(
        key='mmdet_deformable_detr',
        title="Deformable DETR with MMDetection's names",
        signature=(rf'^(en|de)coder{_DEFORMABLE}', r'^bbox_head\.'),
        rules=MMDET_RULES,
        dropped=(
            (r'^(memory_trans_fc|memory_trans_norm|pos_trans_fc|pos_trans_norm)\.',
             TWO_STAGE),
            *_AVERAGED,
        ),
        left_out=_NOT_DETECTOR,
        wrapper='state_dict',
    ),
    Family(
        key='fdta',
        title='FDTA as released',
        signature=(rf'^detr\.transformer\.(en|de)coder{_DEFORMABLE}', _ADAPTERS),
        foreign=(r'^seq_decoder\.',),
        rules=RELEASED_RULES,
        aliases=(DETR_BOX_ALIAS, WORD_ALIAS),
        dropped=_BATCH_COUNTERS,
        left_out=(
            (r'^identity_adapter\.', CRITERION),
            (_TRACK_QUERIES, 'FDTA has no track queries'),
        )
        + _YOLOX
        + _BATCH_COUNTERS,
        draws_identity=True,
    ),
    Family(
        key='fdta_previous',
        title='FDTA, previous naming',
        signature=(r'^detr\.transformer\.', r'^seq_decoder\.', _ADAPTERS),
        rules=PREVIOUS_RULES,
        aliases=(DETR_BOX_ALIAS,),
        dropped=_BATCH_COUNTERS,
        draws_identity=True,
    ),
    Family(
        key='motip',
        title='MOTIP as released',
        signature=(rf'^detr\.transformer\.(en|de)coder{_DEFORMABLE}',),
        foreign=(r'^seq_decoder\.', _ADAPTERS),
        rules=RELEASED_RULES,
        aliases=(DETR_BOX_ALIAS, WORD_ALIAS),
        dropped=_BATCH_COUNTERS,
        left_out=_NOT_MOTIP + _BATCH_COUNTERS,
    ),
    Family(
        key='motip_previous',
        title='MOTIP, previous naming',
        signature=(r'^detr\.transformer\.', r'^seq_decoder\.'),
        foreign=(_ADAPTERS,),
        rules=PREVIOUS_RULES,
        aliases=(DETR_BOX_ALIAS,),
        dropped=_BATCH_COUNTERS,
    ),
    Family(
        key='motr',
        title='MOTR as released',
        signature=(rf'^transformer\.(en|de)coder{_DEFORMABLE}', _QUERY_INTERACTION),
        rules=MOTR_RULES,
        aliases=(BOX_ALIAS,),
        dropped=_BATCH_COUNTERS + ((r'^track_embed\.norm3\.', NEVER_USED),),
    ),
    Family(
        key='deformable_detr',
        title='Deformable DETR as released',
        signature=(rf'^transformer\.(en|de)coder{_DEFORMABLE}', r'^class_embed\.'),
        foreign=(_QUERY_INTERACTION,),
        rules=DETECTOR_RULES,
        aliases=(BOX_ALIAS, CLASS_ALIAS),
        dropped=_BATCH_COUNTERS + _TWO_STAGE,
        left_out=_NOT_DETECTOR + _BATCH_COUNTERS,
    ),
    Family(
        key='yolox',
        title='YOLOX as released, also by ByteTrack, OC-SORT and DanceTrack',
        signature=(r'^backbone\.backbone\.dark2\.', r'^head\.cls_preds\.'),
        rules=YOLOX_RULES,
    ),
    Family(
        key='mmdet_yolox',
        title="YOLOX with MMDetection's names",
        signature=(r'^backbone\.stage1\.', r'^bbox_head\.multi_level_conv_cls\.'),
        rules=MMDET_YOLOX_RULES,
        dropped=_AVERAGED,
        left_out=_NOT_YOLOX,
        wrapper='state_dict',
    ),
)  # fmt: skip
OWN = FAMILIES[0]
# Names of the detector of MMDetection in a `QueryDetector`.
HOST = 'detector.host.'
# Modules that one-stage Deformable DETR and the detectors of FDTA and MOTR do not have.
_ONLY_OF_HOSTS = re.compile(
    r'(detector\.)?((memory|pos)_trans_(fc|norm)|dn_query_generator|query_map'
    r'|decoder\.(ref_point_head|query_scale|norm|post_norm))\.'
)
FOR_A_CONFIG = (
    'A query detector of MMDetection is converted for the config that is to load it: '
    '--config NAME.'
)
TARGETS = tuple(family.key for family in FAMILIES if family.left_out is not None)


def find_family(key: str) -> Family:
    """Return the family with this key.

    Raises:
        CheckpointError: If there is none.
    """
    for family in FAMILIES:
        if family.key == key:
            return family
    known = ', '.join(family.key for family in FAMILIES)
    raise CheckpointError(f'family {key!r} is not known; expected one of {known}.')


def find_owner(names: Iterable[str]) -> Family | None:
    """Return the family to which parameter names belong; None if there is none."""
    names = tuple(names)
    return next((family for family in FAMILIES if family.owns(names)), None)


def find_host(names: Iterable[str]) -> str | None:
    """Return the prefix of the names of a model's host; None if it has no host.

    Args:
        names: Parameter names of a tracker with a `QueryDetector`, of a tracker on the
            boxes of such a detector of MMDetection, or of that detector alone.
    """
    names = tuple(names)
    if any(name.startswith(HOST) for name in names):
        return HOST
    if any(_ONLY_OF_HOSTS.match(name) for name in names):
        inner = any(name.startswith('detector.') for name in names)
        return 'detector.' if inner else ''
    return None


def recognise(names: Iterable[str]) -> Family:
    """Return the family to which parameter names belong.

    Raises:
        CheckpointError: If no family has such names.
    """
    names = tuple(names)
    family = find_owner(names)
    if family is not None:
        return family
    tops = sorted({name.split('.')[0] for name in names})
    known = '; '.join(family.title for family in FAMILIES)
    raise CheckpointError(
        f'its {len(names)} parameter names belong to no known model; the modules in '
        f'it are {", ".join(tops[:12])}{", ..." if len(tops) > 12 else ""}. Expected '
        f'one of: {known}. {FOR_A_CONFIG}'
    )


def reason_for(patterns: Iterable[tuple[str, str]], name: str) -> str | None:
    """Return the reason of the first pattern that is found in ``name``, or None."""
    for pattern, reason in patterns:
        if re.search(pattern, name):
            return reason
    return None
