# Copyright (c) mmfdta authors.
"""Weights that others have published, by short names.

Addresses, scores and the digits of hashes are those of the pages that `source` names.
What a page does not say is not known here either: MMDetection states no sizes, and
only the names of its files hold digits of their SHA-256.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

_MMDET_2 = 'https://download.openmmlab.com/mmdetection/v2.0'
_MMDET_3 = 'https://download.openmmlab.com/mmdetection/v3.0'
_MMDET_PAGES = 'https://github.com/open-mmlab/mmdetection/blob/main/configs'
_YOLOX = 'https://github.com/Megvii-BaseDetection/YOLOX'
_FDTA = 'https://huggingface.co/Spongebobbbbbbbb/FDTA'
_MOTIP = 'https://github.com/MCG-NJU/MOTIP'
_MOTR = 'https://github.com/megvii-research/MOTR'
_DANCETRACK = 'https://huggingface.co/noahcao/dancetrack_models'
_DRIVE = 'https://drive.google.com/file/d'
_COCO = 'YOLOX, the 80 classes of COCO'
_BOX_TRACKERS = ('bytetrack', 'ocsort', 'sort', 'botsort', 'cbiou')
_MMTRACKING = 'https://download.openmmlab.com/mmtracking/mot'
_NO_SCORES: Mapping[str, float] = MappingProxyType({})


@dataclass(frozen=True)
class PublishedWeights:
    """One file of weights.

    Attributes:
        name: What ``--checkpoint`` takes.
        family: What it is a part of, for people.
        file: Its name in the folder of fetched weights.
        address: Where it is fetched from; None if only a browser gets it, or if it is
            part of the package.
        licence: Of the project that publishes it; data sets have terms of their own.
        source: The page that publishes it.
        configs: Names of the configs that take it.
        scores: As published, in percent.
        scored_on: Data that the scores are of.
        size: Bytes; None if no page says it.
        sha256_prefix: First digits of the SHA-256 of the file; empty if none is
            published.
        page: Where a browser gets it, if it has no address.
        remark: What else one should know.
        part_of_package: Path in the package of a file that comes with it.
    """

    name: str
    family: str
    file: str
    address: str | None
    licence: str
    source: str
    configs: tuple[str, ...]
    scores: Mapping[str, float] = field(default_factory=lambda: _NO_SCORES)
    scored_on: str = ''
    size: int | None = None
    sha256_prefix: str = ''
    page: str = ''
    remark: str = ''
    part_of_package: str = ''


def _mmdet_yolox(size: str, stamp: str, ap: float) -> PublishedWeights:
    """YOLOX of MMDetection's model zoo; the stamp ends in digits of the hash."""
    file = f'yolox_{size}_8x8_300e_coco_{stamp}.pth'
    return PublishedWeights(
        name=f'yolox-{size}',
        family=_COCO,
        file=file,
        address=f'{_MMDET_2}/yolox/yolox_{size}_8x8_300e_coco/{file}',
        licence='Apache-2.0',
        source=f'{_MMDET_PAGES}/yolox/metafile.yml',
        configs=(f'bytetrack_yolox-{size}_coco',),
        scores={'box AP': ap},
        scored_on='COCO val',
        sha256_prefix=stamp.rpartition('-')[2],
    )


def _fdta(data: str, title: str, scores: Mapping[str, float]) -> PublishedWeights:
    return PublishedWeights(
        name=data,
        family='FDTA',
        file=f'fdta_{data}_released.pth',
        address=f'{_FDTA}/resolve/main/{data}.pth',
        licence='MIT',
        source=_FDTA,
        configs=(f'fdta_{data}',),
        scores=scores,
        scored_on=f'{title} test',
        remark='the address follows from the file name in the README of FDTA; if it '
        'has moved, the page has it',
    )


def _motip(data: str, title: str, scores: Mapping[str, float]) -> PublishedWeights:
    file = f'r50_deformable_detr_motip_{data}.pth'
    return PublishedWeights(
        name=f'motip-{data}',
        family='MOTIP',
        file=file,
        address=f'{_MOTIP}/releases/download/v0.1/{file}',
        licence='Apache-2.0',
        source=f'{_MOTIP}/blob/main/docs/MODEL_ZOO.md',
        configs=(f'motip_{data}',),
        scores=scores,
        scored_on=f'{title} test',
    )


def _deformable_detr(data: str) -> PublishedWeights:
    """A detector that FDTA, MOTIP and MOTR start training from."""
    file = f'r50_deformable_detr_{data}.pth'
    tuned = data.removeprefix('coco_')
    data_sets = ['dancetrack', 'sportsmot', 'bft'] if tuned == 'coco' else [tuned]
    return PublishedWeights(
        name=f'deformable-detr-{tuned}',
        family='Deformable DETR, to start training from',
        file=file,
        address=f'{_MOTIP}/releases/download/v0.1/{file}',
        licence='Apache-2.0',
        source=f'{_MOTIP}/blob/main/docs/MODEL_ZOO.md',
        configs=tuple(f'{m}_{d}' for d in data_sets for m in ('fdta', 'motip')),
    )


def _query_detector(
    name: str,
    folder: str,
    model: str,
    stamp: str,
    ap: float,
    configs: tuple[str, ...],
    zoo: str = _MMDET_3,
) -> PublishedWeights:
    """A query detector of MMDetection's model zoo, to start training from."""
    file = f'{model}_{stamp}.pth'
    return PublishedWeights(
        name=name,
        family='Query detectors of MMDetection, to start training from',
        file=file,
        address=f'{zoo}/{folder}/{model}/{file}',
        licence='Apache-2.0',
        source=f'{_MMDET_PAGES}/{folder}/metafile.yml',
        configs=configs,
        scores={'box AP': ap},
        scored_on='COCO val',
        sha256_prefix=stamp.rpartition('-')[2],
    )


_DINO_CONFIGS = (
    *(f'fdta_dino-r50_{data}' for data in ('dancetrack', 'sportsmot', 'bft')),
    'motip_dino-r50_dancetrack',
)


def _motr(
    data: str, title: str, drive: str, scores: Mapping[str, float]
) -> PublishedWeights:
    return PublishedWeights(
        name=f'motr-{data}',
        family='MOTR',
        file=f'motr_{data}_released.pth',
        address=None,
        licence='MIT',
        source=f'{_MOTR}/blob/main/README.md',
        configs=(f'motr_{data}',),
        scores=scores,
        scored_on=f'{title} test',
        page=f'{_DRIVE}/{drive}/view',
    )


def _mmtracking(
    name: str,
    family: str,
    folder: str,
    file: str,
    page: str,
    config: str,
    scores: Mapping[str, float] = _NO_SCORES,
    remark: str = '',
) -> PublishedWeights:
    """A file for MOT17 of MMTracking, which MMDetection's model zoo lists."""
    return PublishedWeights(
        name=name,
        family=family,
        file=file,
        address=f'{_MMTRACKING}/{folder}/{file}',
        licence='Apache-2.0',
        source=f'{_MMDET_PAGES}/{page}/metafile.yml',
        configs=(config,),
        scores=scores,
        scored_on='MOT17 second halves' if scores else '',
        sha256_prefix=file.removesuffix('.pth').rpartition('-')[2],
        remark=remark,
    )


_ALL = (
    PublishedWeights(
        name='yolox-nano',
        family=_COCO,
        file='yolox_nano.pth',
        address=f'{_YOLOX}/releases/download/0.1.1rc0/yolox_nano.pth',
        licence='Apache-2.0',
        source=f'{_YOLOX}/blob/main/README.md',
        configs=(
            *(f'{t}_yolox-nano_coco' for t in ('bytetrack', 'botsort', 'cbiou')),
            'iou-embedding_yolox-nano_coco',
            *(f'{t}_yolox-nano_pets' for t in _BOX_TRACKERS),
            'bytetrack-gallery_yolox-nano_pets',
        ),
        scores={'box AP': 25.8},
        scored_on='COCO val',
        remark="of YOLOX's authors: MMDetection publishes none of this size",
    ),
    _mmdet_yolox('tiny', '20211124_171234-b4047906', 32.0),
    _mmdet_yolox('s', '20211121_095711-4592a793', 40.5),
    _mmdet_yolox('x', '20211126_140254-1ef88d67', 50.9),
    PublishedWeights(
        name='yolox-x-dancetrack',
        family='YOLOX-x, persons',
        file='yolox_x_dancetrack_released.pth.tar',
        address=f'{_DANCETRACK}/resolve/main/bytetrack_models/bytetrack_model.pth.tar',
        licence='MIT',
        source=f'{_DANCETRACK}/tree/main/bytetrack_models',
        configs=tuple(f'{t}_yolox-x_dancetrack' for t in _BOX_TRACKERS),
        scores={'HOTA': 47.7, 'DetA': 71.0, 'AssA': 32.1, 'MOTA': 89.6, 'IDF1': 53.9},
        scored_on='DanceTrack test',
        remark='scores are those of ByteTrack with it',
    ),
    PublishedWeights(
        name='yolox-x-mot17',
        family='YOLOX-x, persons',
        file='bytetrack_ablation.pth.tar',
        address=None,
        licence='MIT',
        source='https://github.com/ifzhang/ByteTrack/blob/main/README.md',
        configs=tuple(f'{t}_yolox-x_mot17' for t in _BOX_TRACKERS),
        scores={'MOTA': 76.6, 'IDF1': 79.3},
        scored_on='MOT17 second halves',
        page=f'{_DRIVE}/1iqhM-6V_r1FpOlOzrdP_Ejshgk0DxOob/view',
        remark='trained on CrowdHuman and the first halves of MOT17; scores are those '
        'of ByteTrack with it',
    ),
    _fdta('dancetrack', 'DanceTrack',
          {'HOTA': 71.7, 'IDF1': 77.2, 'AssA': 63.5, 'MOTA': 91.3, 'DetA': 81.0}),
    _fdta('sportsmot', 'SportsMOT',
          {'HOTA': 74.2, 'IDF1': 78.5, 'AssA': 65.5, 'MOTA': 93.0, 'DetA': 84.1}),
    _fdta('bft', 'BFT',
          {'HOTA': 72.2, 'IDF1': 84.2, 'AssA': 74.5, 'MOTA': 78.2, 'DetA': 70.1}),
    PublishedWeights(
        name='minidance',
        family='FDTA',
        file='fdta_mini.pth',
        address=None,
        licence='Apache-2.0',
        source='docs/minidance.md',
        configs=('fdta_mini', 'fdta_mini_demo', 'boxes-looks_fdta-det_mini'),
        scores={'HOTA': 75.8},
        scored_on='MiniDance test',
        size=3_881_277,
        sha256_prefix='7fad99e9',
        remark='comes with mmfdta: small, for CPUs',
        part_of_package='minidance/weights/fdta_mini.pth',
    ),
    _motip('dancetrack', 'DanceTrack', {'HOTA': 69.6, 'DetA': 80.4, 'AssA': 60.4}),
    _motip('sportsmot', 'SportsMOT', {'HOTA': 72.6, 'DetA': 83.5, 'AssA': 63.2}),
    _motip('bft', 'BFT', {'HOTA': 70.5, 'DetA': 69.6, 'AssA': 71.8}),
    _motr('dancetrack', 'DanceTrack', '1zs5o1oK8diafVfewRl3heSVQ7-XAty3J',
          {'HOTA': 54.2, 'DetA': 73.5, 'AssA': 40.2, 'MOTA': 79.7, 'IDF1': 51.5}),
    _motr('mot17', 'MOT17', '1K9AbtzTCBNsOD8LYA1k16kf4X0uJi8PC',
          {'HOTA': 57.8, 'DetA': 60.3, 'AssA': 55.7, 'MOTA': 73.4, 'IDF1': 68.6}),
    _deformable_detr('coco'),
    _deformable_detr('coco_dancetrack'),
    _deformable_detr('coco_sportsmot'),
    _deformable_detr('coco_bft'),
    _query_detector('dino-r50', 'dino', 'dino-4scale_r50_8xb2-12e_coco',
                    '20221202_182705-55b2bba2', 49.0, _DINO_CONFIGS),
    _query_detector('dino-swin-l', 'dino', 'dino-5scale_swin-l_8xb2-12e_coco',
                    '20230228_072924-a654145f', 57.2,
                    ('fdta_dino-swin-l_dancetrack',)),
    _query_detector('ddq-r50', 'ddq', 'ddq-detr-4scale_r50_8xb2-12e_coco',
                    '20230809_170711-42528127', 51.4, ('fdta_ddq-r50_dancetrack',)),
    _query_detector(
        'sparse-rcnn-r50', 'sparse_rcnn',
        'sparse_rcnn_r50_fpn_300_proposals_crop_mstrain_480-800_3x_coco',
        '20201223_024605-9fe92701', 45.0, ('fdta_sparse-rcnn-r50_dancetrack',),
        zoo=_MMDET_2),
    _mmtracking(
        'faster-rcnn-mot17', 'Faster R-CNN, persons', 'faster_rcnn',
        'faster-rcnn_r50_fpn_4e_mot17-half-64ee2ed4.pth', 'deepsort',
        'deepsort_faster-rcnn_mot17', {'HOTA': 57.0, 'MOTA': 63.7, 'IDF1': 69.5},
        'trained on the first halves of MOT17; scores are those of DeepSORT with it'),
    _mmtracking(
        'reid-tracktor', 'Re-identification', 'reid',
        'tracktor_reid_r50_iter25245-a452f51f.pth', 'deepsort',
        'deepsort_faster-rcnn_mot17', remark='the part `embeddings.network` of it'),
    _mmtracking(
        'reid-r50-mot17', 'Re-identification', 'reid',
        'reid_r50_6e_mot17-4bf6b63d.pth', 'strongsort', 'strongsort_yolox-x_mot17',
        remark='the part `embeddings.network` of it'),
    _mmtracking(
        'qdtrack-mot17', 'QDTrack', 'qdtrack/mot_dataset',
        'qdtrack_faster-rcnn_r50_fpn_4e_mot17_20220315_145635-76f295ef.pth', 'qdtrack',
        'qdtrack_faster-rcnn_mot17', {'HOTA': 57.1, 'MOTA': 68.1, 'IDF1': 68.6}),
)  # fmt: skip
PUBLISHED: Mapping[str, PublishedWeights] = MappingProxyType({w.name: w for w in _ALL})
