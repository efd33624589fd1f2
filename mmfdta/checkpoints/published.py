# Copyright (c) mmfdta authors.
"""Weights that others have published, by short names, and the scores stated for them.

Addresses, scores and the digits of hashes are from the pages that `source` names. What
a page does not state is left out: MMDetection states no sizes, and only the names of
its files contain digits of their SHA-256.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any

_MMDET_2 = 'https://download.openmmlab.com/mmdetection/v2.0'
_MMDET_3 = 'https://download.openmmlab.com/mmdetection/v3.0'
_MMDET_PAGES = 'https://github.com/open-mmlab/mmdetection/blob/main/configs'
_YOLOX = 'https://github.com/Megvii-BaseDetection/YOLOX'
_FDTA = 'https://huggingface.co/Spongebobbbbbbbb/FDTA'
_FDTA_README = 'https://github.com/Spongebobbbbbbbb/FDTA/blob/main/README.md'
_MOTIP = 'https://github.com/MCG-NJU/MOTIP'
_MOTR = 'https://github.com/megvii-research/MOTR'
_OC_SORT = 'https://github.com/noahcao/OC_SORT/blob/master'
_BYTETRACK = 'https://github.com/ifzhang/ByteTrack/blob/main/README.md'
_DANCETRACK_README = 'https://github.com/DanceTrack/DanceTrack/blob/main/README.md'
_DANCETRACK = 'https://huggingface.co/noahcao/dancetrack_models'
_DRIVE = 'https://drive.google.com/file/d'
_COCO = 'YOLOX, the 80 classes of COCO'
_BOX_TRACKERS = ('bytetrack', 'ocsort', 'sort', 'botsort', 'cbiou')
# The second half of each sequence of a train split.
SECOND_HALVES = 'second halves'
_MMTRACKING = 'https://download.openmmlab.com/mmtracking/mot'
# Who scores the splits whose ground truth is not published.
SERVERS: Mapping[tuple[str, str], str] = MappingProxyType(
    {
        ('DanceTrack', 'test'): 'https://www.codabench.org/competitions/14885/',
        ('SportsMOT', 'test'): 'https://codalab.lisn.upsaclay.fr/competitions/12424',
        ('MOT17', 'test'): 'https://motchallenge.net/',
    }
)
# Largest difference between a figure and the score of the same weights on the same
# data, in percent: rounding, and near ties that other kernels decide differently
# (measured in docs/published_weights.md).
TOLERANCE: Mapping[str, float] = MappingProxyType(
    {'HOTA': 0.2, 'DetA': 0.1, 'AssA': 0.3, 'MOTA': 0.1, 'IDF1': 0.3}
)
# Number of sequences of a split, if its authors' page states it.
SEQUENCES: Mapping[tuple[str, str], int] = MappingProxyType(
    {
        ('DanceTrack', 'val'): 25,
        ('DanceTrack', 'test'): 35,
        ('MiniDance', 'test'): 10,
        ('MOT17', SECOND_HALVES): 7,
    }
)


@dataclass(frozen=True)
class PublishedScores:
    """Scores of weights on one split, as stated on one page.

    Attributes:
        data: Title of the data set.
        split: ``val``, ``test`` or ``second halves``.
        scores: Scores in percent.
        source: The page.
        config: Name of the config that should reach them. For detectors on COCO it is
            MMDetection's own, below its ``configs``; empty if there is none.
        origin: Who states them.
        options: Values for ``--cfg-options``, if the config's default is another split.
        remark: Known differences between that run and one of the config.
    """

    data: str
    split: str
    scores: Mapping[str, float]
    source: str
    config: str
    origin: str = 'the authors'
    options: tuple[str, ...] = ()
    remark: str = ''

    @property
    def scored_on(self) -> str:
        """Data set and split."""
        return f'{self.data} {self.split}'

    @property
    def server(self) -> str:
        """Address of the server that scores it; empty if the ground truth is public."""
        return SERVERS.get((self.data, self.split), '')


@dataclass(frozen=True)
class PublishedWeights:
    """One file of weights.

    Attributes:
        name: Its name for ``--checkpoint``.
        family: Group in which it is listed.
        file: Its name in the folder of fetched weights.
        address: Address of the file; None if only a browser can fetch it, or if it is
            part of the package.
        licence: Licence of the project that publishes it; data sets have their own
            terms.
        source: The page that publishes it.
        configs: Names of the configs that use it.
        figures: The scores that are stated for it, the most important first.
        size: Bytes; None if no page states it.
        sha256_prefix: First digits of the SHA-256 of the file; empty if none is
            published.
        page: Page for a browser, if there is no address.
        remark: Further information for users.
        part_of_package: Path in the package of a file that comes with it.
    """

    name: str
    family: str
    file: str
    address: str | None
    licence: str
    source: str
    configs: tuple[str, ...]
    figures: tuple[PublishedScores, ...] = ()
    size: int | None = None
    sha256_prefix: str = ''
    page: str = ''
    remark: str = ''
    part_of_package: str = ''

    @property
    def scores(self) -> Mapping[str, float]:
        """The scores of the first figure, in percent; empty without one."""
        return self.figures[0].scores if self.figures else {}

    @property
    def scored_on(self) -> str:
        """Data set and split of the first figure; empty without one."""
        return self.figures[0].scored_on if self.figures else ''


# Splits for which `mmfdta test` also reports that no figure is published.
SPLITS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {'DanceTrack': ('val', 'test'), 'SportsMOT': ('val', 'test')}
)
# How the scores of the trackers on YOLOX-x were computed, and how mmfdta runs them.
_FP16 = "scores of the authors' code in float16; mmfdta runs MMDetection's tracker"
_OC_SORT_SETTINGS = f'{_FP16} with its detection thresholds, which are lower'
_TEST_SPLIT = ('test_dataloader.dataset.split=test',)


def _rates(
    hota: float, deta: float, assa: float, mota: float, idf1: float
) -> Mapping[str, float]:
    return {'HOTA': hota, 'DetA': deta, 'AssA': assa, 'MOTA': mota, 'IDF1': idf1}


def _test_scores(
    title: str,
    config: str,
    scores: Mapping[str, float],
    source: str,
    remark: str = '',
) -> PublishedScores:
    """Scores of a test split; configs test on val if its ground truth is not public."""
    options = _TEST_SPLIT if (title, 'test') in SERVERS else ()
    return PublishedScores(
        title, 'test', scores, source, config, options=options, remark=remark
    )


def _coco(config: str, ap: float, source: str) -> tuple[PublishedScores]:
    origin = 'MMDetection' if config else 'the authors'
    return (PublishedScores('COCO', 'val', {'box AP': ap}, source, config, origin),)


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
        figures=_coco(
            f'yolox/yolox_{size}_8xb8-300e_coco',
            ap,
            f'{_MMDET_PAGES}/yolox/metafile.yml',
        ),
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
        figures=(_test_scores(title, f'fdta_{data}', scores, _FDTA_README),),
        remark='the address follows from the file name in the README of FDTA; if it '
        'has moved, the page has it',
    )


def _motip(
    data: str,
    title: str,
    scores: Mapping[str, float],
    *others: PublishedScores,
) -> PublishedWeights:
    source = f'{_MOTIP}/blob/main/docs/MODEL_ZOO.md'
    file = f'r50_deformable_detr_motip_{data}.pth'
    return PublishedWeights(
        name=f'motip-{data}',
        family='MOTIP',
        file=file,
        address=f'{_MOTIP}/releases/download/v0.1/{file}',
        licence='Apache-2.0',
        source=source,
        configs=(f'motip_{data}',),
        figures=(_test_scores(title, f'motip_{data}', scores, source), *others),
    )


def _deformable_detr(data: str) -> PublishedWeights:
    """A detector from which FDTA, MOTIP and MOTR start training."""
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
    config: str = '',
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
        figures=_coco(
            f'{folder}/{config or model}', ap, f'{_MMDET_PAGES}/{folder}/metafile.yml'
        ),
        sha256_prefix=stamp.rpartition('-')[2],
    )


_DINO_CONFIGS = (
    *(f'fdta_dino-r50_{data}' for data in ('dancetrack', 'sportsmot', 'bft')),
    'motip_dino-r50_dancetrack',
)


def _motr(
    data: str, title: str, drive: str, scores: Mapping[str, float], **more: Any
) -> PublishedWeights:
    source = f'{_MOTR}/blob/main/README.md'
    return PublishedWeights(
        name=f'motr-{data}',
        family='MOTR',
        file=f'motr_{data}_released.pth',
        address=None,
        licence='MIT',
        source=source,
        configs=(f'motr_{data}',),
        figures=(replace(_test_scores(title, f'motr_{data}', scores, source), **more),),
        page=f'{_DRIVE}/{drive}/view',
    )


def _mmtracking(
    name: str,
    family: str,
    folder: str,
    file: str,
    page: str,
    config: str,
    scores: Mapping[str, float] | None = None,
    remark: str = '',
) -> PublishedWeights:
    """A file for MOT17 of MMTracking, which MMDetection's model zoo lists."""
    source = f'{_MMDET_PAGES}/{page}/metafile.yml'
    figures: tuple[PublishedScores, ...] = ()
    if scores:
        figures = (
            PublishedScores(
                'MOT17', SECOND_HALVES, scores, source, config, 'MMDetection'
            ),
        )
    return PublishedWeights(
        name=name,
        family=family,
        file=file,
        address=f'{_MMTRACKING}/{folder}/{file}',
        licence='Apache-2.0',
        source=source,
        configs=(config,),
        figures=figures,
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
            'boxes-looks_yolox-nano_pets',
        ),
        figures=_coco('', 25.8, f'{_YOLOX}/blob/main/README.md'),
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
        figures=(
            _test_scores(
                'DanceTrack',
                'bytetrack_yolox-x_dancetrack',
                _rates(47.7, 71.0, 32.1, 89.6, 53.9),
                _DANCETRACK_README,
                _FP16,
            ),
            PublishedScores(
                'DanceTrack',
                'val',
                _rates(47.1, 70.5, 31.5, 88.2, 51.9),
                _DANCETRACK_README,
                'bytetrack_yolox-x_dancetrack',
                remark=_FP16,
            ),
            _test_scores(
                'DanceTrack',
                'ocsort_yolox-x_dancetrack',
                _rates(55.1, 80.3, 38.0, 89.4, 54.2),
                f'{_OC_SORT}/docs/MODEL_ZOO.md',
                f'{_OC_SORT_SETTINGS}; their docs/GET_STARTED.md: 54.6 to 55.2 HOTA',
            ),
            PublishedScores(
                'DanceTrack',
                'val',
                _rates(52.1, 77.2, 35.3, 87.3, 51.6),
                f'{_OC_SORT}/docs/MODEL_ZOO.md',
                'ocsort_yolox-x_dancetrack',
                remark=f'{_OC_SORT_SETTINGS}; their docs/GET_STARTED.md: 52.1 to 52.6 '
                'HOTA',
            ),
        ),
        remark='the list has the scores of ByteTrack with it',
    ),
    PublishedWeights(
        name='yolox-x-mot17',
        family='YOLOX-x, persons',
        file='bytetrack_ablation.pth.tar',
        address=None,
        licence='MIT',
        source=_BYTETRACK,
        configs=tuple(f'{t}_yolox-x_mot17' for t in _BOX_TRACKERS),
        figures=(
            PublishedScores(
                'MOT17',
                SECOND_HALVES,
                {'MOTA': 76.6, 'IDF1': 79.3},
                _BYTETRACK,
                'bytetrack_yolox-x_mot17',
                remark=_FP16,
            ),
            PublishedScores(
                'MOT17',
                SECOND_HALVES,
                {'HOTA': 66.5, 'AssA': 68.9, 'MOTA': 74.9, 'IDF1': 77.7},
                f'{_OC_SORT}/docs/MODEL_ZOO.md',
                'ocsort_yolox-x_mot17',
                remark=_OC_SORT_SETTINGS,
            ),
        ),
        page=f'{_DRIVE}/1iqhM-6V_r1FpOlOzrdP_Ejshgk0DxOob/view',
        remark='trained on CrowdHuman and the first halves of MOT17; the list has the '
        'scores of ByteTrack with it',
    ),
    _fdta('dancetrack', 'DanceTrack',
          _rates(71.7, 81.0, 63.5, 91.3, 77.2)),
    _fdta('sportsmot', 'SportsMOT',
          _rates(74.2, 84.1, 65.5, 93.0, 78.5)),
    _fdta('bft', 'BFT',
          _rates(72.2, 70.1, 74.5, 78.2, 84.2)),
    PublishedWeights(
        name='minidance',
        family='FDTA',
        file='fdta_mini.pth',
        address=None,
        licence='Apache-2.0',
        source='docs/minidance.md',
        configs=(
            *('fdta_mini', 'fdta_mini_demo', 'boxes-looks_fdta-det_mini'),
            *('deformable_detr_pets', 'fdta_pets', 'motip_pets'),
        ),
        figures=(
            PublishedScores(
                'MiniDance',
                'test',
                _rates(76.12, 77.42, 74.92, 85.47, 87.01),
                'mmfdta/minidance/weights/fdta_mini.json',
                'fdta_mini',
                'this project',
            ),
        ),
        size=3_687_227,
        sha256_prefix=(
            '7c006a69dd39fe28b691f966bef4fb2f673ef66743a291c85d34fb67854f2a02'
        ),
        remark='comes with mmfdta: small, for CPUs',
        part_of_package='minidance/weights/fdta_mini.pth',
    ),
    _motip(
        'dancetrack', 'DanceTrack', {'HOTA': 69.6, 'DetA': 80.4, 'AssA': 60.4},
        PublishedScores(
            'DanceTrack', 'val', _rates(64.07, 75.41, 54.69, 85.56, 69.11),
            f'{_MOTIP}/issues/84', 'motip_dancetrack', 'a user',
        ),
    ),
    _motip('sportsmot', 'SportsMOT', {'HOTA': 72.6, 'DetA': 83.5, 'AssA': 63.2}),
    _motip('bft', 'BFT', {'HOTA': 70.5, 'DetA': 69.6, 'AssA': 71.8}),
    _motr('dancetrack', 'DanceTrack', '1zs5o1oK8diafVfewRl3heSVQ7-XAty3J',
          _rates(54.2, 73.5, 40.2, 79.7, 51.5)),
    _motr('mot17', 'MOT17', '1K9AbtzTCBNsOD8LYA1k16kf4X0uJi8PC',
          _rates(57.8, 60.3, 55.7, 73.4, 68.6),
          options=(*_TEST_SPLIT, 'test_dataloader.dataset.half=None')),
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
        zoo=_MMDET_2,
        config='sparse-rcnn_r50_fpn_300-proposals_crop-ms-480-800-3x_coco'),
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
