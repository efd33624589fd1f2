# Copyright (c) mmfdta authors.
"""What counts of a ground truth: the metric itself says so."""

import cv2
import numpy as np
import pytest
from mmdet.registry import DATASETS

from mmfdta.apis.evaluation_data import EvaluationData
from mmfdta.cli.main import main
from mmfdta.structures.tracks import Tracks

FRAMES = 3


def open_data(folder, rows, benchmark, **options) -> EvaluationData:
    """A sequence of black frames with the rows `frame, id, flag, class`."""
    text = [
        f'{frame},{identity},{10 * place + 1},{frame},8,20,{flag},{kind},1'
        for place, (frame, identity, flag, kind) in enumerate(rows)
    ]
    return open_text(folder, text, benchmark, **options)


def open_text(folder, text, benchmark, frames=FRAMES, **options) -> EvaluationData:
    """A sequence of black frames with the lines of a ground truth."""
    sequence = folder / 'train' / 'one-FRCNN'
    for name in ('img1', 'gt'):
        (sequence / name).mkdir(parents=True)
    for number in range(1, frames + 1):
        path = str(sequence / 'img1' / f'{number:06d}.jpg')
        cv2.imwrite(path, np.zeros((64, 96, 3), np.uint8))
    (sequence / 'seqinfo.ini').write_text(
        '[Sequence]\nname=one-FRCNN\nimDir=img1\nframeRate=20\n'
        f'seqLength={frames}\nimWidth=96\nimHeight=64\nimExt=.jpg\n'
    )
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


def walk(change=lambda row: row, first=1) -> list[str]:
    """Two objects that walk for 30 frames, from a frame on."""
    rows = (
        (f, i, 300.0 * i + 6 * f, 50.0 * i + 4 * f, 40.0, 80.0)
        for i in (1, 2)
        for f in range(first, 31)
    )
    return [','.join(map(str, change(row))) for row in rows]


FOREIGN = dict(
    right=lambda r: r,
    from_zero=lambda r: (r[0] - 1, *r[1:]),
    corners=lambda r: (*r[:4], r[2] + r[4], r[3] + r[5]),
    classes=lambda r: (*r, 0.9, r[1] + 3),  # one too high
)


@pytest.mark.parametrize('case', FOREIGN)
def test_foreign_results_are_checked_as_the_command_does(case, tmp_path, capsys):
    truth = walk(lambda row: (*row, 1, row[1] + 2, 1))  # classes 3 and 4
    settings: dict = {}
    options: list[str] = []
    if case == 'classes':
        settings['metainfo'] = dict(classes=('person', 'car', 'cat'))
        settings['category_map'] = {3: 0, 4: 1, 5: 2}
        options = ['--classes', 'person=3', 'car=4', 'cat=5']
    data = open_text(tmp_path / 'data', truth, 'mot_challenge', 30, **settings)
    results = tmp_path / 'results'
    results.mkdir()
    lines = walk(FOREIGN[case], 4)
    (results / 'one-FRCNN.txt').write_text('\n'.join(lines) + '\n')
    sides = '--gt', tmp_path / 'data' / 'train', '--results', results
    command = ['evaluate', *sides, '--benchmark', 'mot_challenge', *options]
    refused = main([*map(str, command), '--processes', '1']) == 1
    said = capsys.readouterr()
    assert refused == (case != 'right')
    if not refused:
        scores = data.score_text(results, is_foreign=True).over_detections()
        assert f'{100 * scores["HOTA"].mean():.3f}' in said.out
        return
    data.score_text(results)  # a tracker of the benchmark may be as bad as it is
    with pytest.raises(ValueError, match='mmfdta evaluate refuses') as raised:
        data.score_text(results, is_foreign=True)
    message = str(raised.value).split('refuses these results: ')[1]
    assert message in said.err and str(results) in str(raised.value)
