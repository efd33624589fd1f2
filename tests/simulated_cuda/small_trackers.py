# Copyright (c) mmfdta authors.
"""Small models of every kind of tracker, for cases on the simulated device."""

import copy
from pathlib import Path

import torch
from mmdet.models.mot import BaseMOTModel
from mmengine.config import Config
from small_fdta import build, small_config
from small_motr import small_motr_config

CONFIGS = Path(__file__).parents[2] / 'configs'
# Models of MMDetection that take its trackers.
OF_MMDETECTION = dict(ByteTrack='ByteTrack', OCSORT='OCSORT', SORT='DeepSORT')


def _read(name: str) -> Config:
    return Config.fromfile(CONFIGS / f'{name}.py')


def _motip() -> Config:
    config = Config(dict(model=small_config()))
    config.merge_from_dict(dict(model=_read('_base_/models/motip').without_adapters))
    return config.model


def _dancetrack() -> Config:
    """The full model's layers, heads and channels on a small backbone."""
    model = _read('fdta_dancetrack').model
    detector = model.detector
    detector.update(num_queries=40)
    detector.backbone.update(depth=18, base_channels=8, stem_channels=8)
    detector.neck.update(in_channels=[16, 32, 64])
    return model


def _on_fdta(tracker: dict) -> Config:
    """Any tracker on the detections of a small FDTA."""
    model = small_config()
    return Config(
        dict(
            type='TrackingByDetection',
            data_preprocessor=model.data_preprocessor,
            detector=model.detector,
            tracker=tracker,
        )
    )


def _on_yolox(tracker: dict) -> Config:
    model = _read('_base_/models/yolox_x').model
    model.detector.backbone.update(deepen_factor=0.33, widen_factor=0.125)
    model.detector.neck.update(
        in_channels=[32, 64, 128], out_channels=32, num_csp_blocks=1
    )
    model.detector.bbox_head.update(in_channels=32, feat_channels=32)
    return Config({**model, 'tracker': tracker})


def _boxes(looks: bool) -> Config:
    """FDTA's association on boxes, and if it looks on embeddings, of a small FDTA."""
    small, model = small_config(), _read('boxes_mini').model
    model.update(embed_dims=32, num_id_vocabulary=16, window=8)
    model.detector, model.data_preprocessor = small.detector, small.data_preprocessor
    model.id_decoder.update(id_dims=32, num_layers=2, head_dims=16)
    model.box_encoder.looks_dims = small.detector.bbox_head.embed_dims if looks else 0
    model.tracker.update(det_thr=0.1, newborn_thr=0.1)
    return model


def config_of(name: str, num_classes: int = 1, **tracker: object) -> Config:
    """Return the config of a small model.

    Args:
        name: ``fdta``, ``dancetrack`` (with all layers of the config), ``motip``,
            ``motr``, ``boxes``, ``boxes-looks``, ``iou-embedding``, ``bytetrack``,
            ``ocsort``, ``sort``, one of the last four and ``-yolox``, or a key of
            `OF_MMDETECTION`.
        num_classes: Classes of the detector.
        **tracker: Arguments of the tracker to change.
    """
    kind, _, detector = name.partition('-yolox')
    if name == 'fdta':
        model = small_config()
    elif name == 'dancetrack':
        model = _dancetrack()
    elif name == 'motip':
        model = _motip()
    elif name == 'motr':
        model = small_motr_config()
        model.tracker.update(newborn_thr=0.5, keep_thr=0.5, det_thr=0.3, area_thr=0.0)
    elif name in ('boxes', 'boxes-looks'):
        model = _boxes(name == 'boxes-looks')
    elif name == 'iou-embedding':
        model = _on_fdta(dict(type='IoUEmbeddingTracker', miss_tolerance=15))
    elif name == 'iou-embedding-yolox':
        model = _on_yolox(dict(type='IoUEmbeddingTracker', newborn_thr=0.3))
        model.embeddings = dict(type='PooledEmbeddings')
    elif name in OF_MMDETECTION:
        model = _on_yolox(_read(f'_base_/trackers/{name.lower()}').tracker)
        model['type'] = OF_MMDETECTION[name]
        model.data_preprocessor.type = 'TrackerDataPreprocessor'
    else:
        box_tracker = _read(f'_base_/trackers/{kind}').tracker
        model = (
            _on_yolox(box_tracker) if name.endswith('-yolox') else _on_fdta(box_tracker)
        )
    model.detector.bbox_head.num_classes = num_classes
    model.tracker.update(tracker)
    return model


def confident(model: BaseMOTModel) -> BaseMOTModel:
    """Let an untrained detector say what it is sure of.

    Returns:
        The model, with weights away from those that start at zero.
    """
    head = model.detector.bbox_head
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for value in model.parameters():
            value += 0.02 * torch.randn(value.shape, generator=generator)
        for name in ('cls_branches', 'multi_level_conv_cls', 'multi_level_conv_obj'):
            for branch in getattr(head, name, ()):
                branch.bias.fill_(3.0)
    return model


def build_pair(config: Config) -> tuple[BaseMOTModel, BaseMOTModel]:
    """Build a model twice, with the same weights."""
    model = confident(build(config))
    return model, copy.deepcopy(model)
