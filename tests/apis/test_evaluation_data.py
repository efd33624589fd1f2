# Copyright (c) mmfdta authors.
"""What counts of a ground truth: the metric itself says so."""

import cv2
import numpy as np
import pytest
from mmdet.registry import DATASETS

from mmfdta.apis.evaluation_data import EvaluationData
from mmfdta.structures.tracks import Tracks

FRAMES = 3


def open_data(folder, rows, benchmark, **options) -> EvaluationData:
    """A sequence of black frames with the rows `frame, id, flag, class`."""
    sequence = folder / 'train' / 'one-FRCNN'
    for name in ('img1', 'gt'):
        (sequence / name).mkdir(parents=True)
    for number in range(1, FRAMES + 1):
        path = str(sequence / 'img1' / f'{number:06d}.jpg')
        cv2.imwrite(path, np.zeros((64, 96, 3), np.uint8))
    (sequence / 'seqinfo.ini').write_text(
        '[Sequence]\nname=one-FRCNN\nimDir=img1\nframeRate=20\n'
        f'seqLength={FRAMES}\nimWidth=96\nimHeight=64\nimExt=.jpg\n'
    )
    text = [
        f'{frame},{identity},{10 * place + 1},{frame},8,20,{flag},{kind},1'
        for place, (frame, identity, flag, kind) in enumerate(rows)
    ]
    (sequence / 'gt' / 'gt.txt').write_text('\n'.join(text) + '\n')
    settings = dict(type='MOTSequenceDataset', data_root=str(folder), split='train')
    settings.update(test_mode=True, pipeline=[], **options)
    return EvaluationData(DATASETS.build(settings), benchmark)


CASES = dict(
    distractors=(
        # A pedestrian, one that is not scored, a car and a person on a vehicle.
        [(1, 1, 1, 1), (1, 2, 0, 1), (1, 3, 1, 3), (1, 4, 1, 2), (2, 1, 1, 1)],
        dict(type='MOT17Dataset'),
        'mot17',
        2,
    ),
    one_class=(
        [(1, 1, 1, 1), (1, 2, 0, 1), (3, 2, 1, 1)],
        {},
        'mot_challenge',
        2,
    ),
    # Identities count within their class; a third class is not asked for.
    two_classes=(
        [(1, 1, 1, 1), (1, 1, 1, 3), (2, 1, 1, 3), (2, 5, 1, 7)],
        dict(metainfo=dict(classes=('person', 'car')), category_map={1: 0, 3: 1}),
        'mot_challenge',
        3,
    ),
)


@pytest.mark.parametrize('case', list(CASES))
def test_the_rows_that_count_are_those_of_the_metric(case, tmp_path):
    rows, options, benchmark, expected = CASES[case]
    data = open_data(tmp_path, rows, benchmark, **options)
    (scored,) = data.scored
    assert len(scored) == expected
    nothing = data.score([Tracks.empty()]).over_detections()
    assert (nothing['HOTA_FN'] == expected).all()
    # As a result they are the ground truth itself, in every class.
    perfect = data.score([scored])
    for scores in (perfect.over_detections(), perfect.over_classes()):
        np.testing.assert_allclose(scores['HOTA'], 1)
        assert scores['IDSW'] == 0 and (scores['HOTA_FP'] == 0).all()
    assert data.by_class == (case == 'two_classes')
    assert not scored.find_repeats()
