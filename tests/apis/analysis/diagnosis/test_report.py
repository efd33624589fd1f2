# Copyright (c) mmfdta authors.
"""What the page and the printed lines say of counts that are set."""

import copy
import json
import re
from pathlib import Path

import pytest

from mmfdta.apis.analysis.diagnosis import report
from mmfdta.apis.analysis.diagnosis.causes import BIRTHS, MISSES, SWITCHES

ROOT = Path(__file__).resolve().parents[4]
SCORES = dict(HOTA=0.5, DetA=0.6, AssA=0.4, MOTA=0.7, IDF1=0.5, IDSW=20)


def stage(wrong: float) -> dict:
    pairs = dict(share_above=0.5, histogram=[1] * 200)
    nearest = dict(wrong=wrong, median=0.25)
    return dict(auc=0.75, nearest=nearest, different=pairs, same=pairs)


def content(**changes) -> dict:
    causes = dict(came_back=8, forgotten=5, took_other=4, asked_other=3)
    listed = [
        dict(sequence=f's{i % 2}', frame=i, gap=1 + 9 * (cause == 'forgotten'))
        | dict(cause=cause, margin=None if cause == 'forgotten' else 0.25)
        for cause, count in causes.items()
        for i in range(count)
    ]
    made = dict(
        format=report.FORMAT,
        mmfdta='1.2',
        config='fdta_mini',
        checkpoint='runs/good.pth',
        model='FDTA',
        tracker='FDTATracker',
        data=dict(
            text='data (val)',
            benchmark='minidance',
            sequences=dict(s0=40, s1=40),
            boxes=400,
            objects=10,
        ),
        bounds=dict(
            scores=dict(
                tracker=SCORES,
                true_identities=SCORES | dict(HOTA=0.7, IDSW=0),
                true_boxes=SCORES | dict(HOTA=0.6, IDSW=4),
            ),
            objects=400,
            without_embedding=40,
        ),
        switches=dict(total=20, causes=causes, switches=listed),
        competition=None,
        separability=dict(
            threshold=0.9,
            found=0.95,
            bins=[-1, 1, 200],
            stages={'decoder layer 1': stage(0.4), 'detector': stage(0.125)},
        ),
        births=dict(
            total=15,
            causes=dict.fromkeys(BIRTHS, 0)
            | dict(new_object=9, background=5)
            | dict(not_scored=1),
            why=dict(known_object={}),
        ),
        misses=dict(
            total=40,
            causes=dict.fromkeys(MISSES, 0) | dict(no_box=30, lost_word=10),
            why=dict(lost_word=dict(took_other=7, unsure=3)),
            by_detector=30,
        ),
        thresholds=dict(
            det_thr=dict(
                value=0.3,
                best=0.4,
                gain=0.012,
                options={'model.tracker.det_thr': 0.4},
                trials=[
                    dict(value=0.3, HOTA=0.5, IDSW=20),
                    dict(value=0.4, HOTA=0.512, IDSW=18),
                ],
            ),
            new_thr=dict(
                value=0.6,
                best=0.5,
                gain=0.001,
                options={'model.tracker.newborn_thr': 0.5},
                trials=[
                    dict(value=0.5, HOTA=0.501, IDSW=20),
                    dict(value=0.6, HOTA=0.5, IDSW=20),
                ],
            ),
        ),
    )
    return made | changes


def test_the_largest_causes_are_named_with_numbers_and_a_remedy():
    # Two causes with one remedy stand together; what repairs is no cause.
    assert SWITCHES['took_other'].advice == SWITCHES['asked_other'].advice
    first, second = report.list_causes(content())
    assert first.startswith('7 of 20 switches (35%): ')
    for key, number in (('took_other', 4), ('asked_other', 3)):
        assert f'{SWITCHES[key].title} ({number})' in first
    assert first.endswith(f'Try: {SWITCHES["took_other"].advice}.')
    assert second.startswith(f'5 of 20 switches (25%): {SWITCHES["forgotten"].title}: ')
    none = dict(total=0, causes={}, switches=[])
    assert report.list_causes(content(switches=none)) == []
    assert 'No identity switches' in report.format_page(content(switches=none))


def test_what_costs_more_is_said():
    said = report.describe_bounds(content())
    assert 'HOTA 50.0, 20 identity switches' in said
    assert 'HOTA 70.0' in said and 'HOTA 60.0 with 4 switches' in said
    assert said.endswith('wrong identities cost more than bad boxes.')
    other = content()
    other['bounds']['scores']['true_boxes'].update(HOTA=0.8, IDSW=16)
    said = report.describe_bounds(other)
    assert 'bad boxes cost more than wrong identities' in said
    assert said.endswith('better boxes alone do not end the switches.')
    for name in ('true_identities', 'true_boxes'):  # nothing is left to gain
        other['bounds']['scores'][name] = dict(SCORES)
    assert 'cost about the same' in report.describe_bounds(other)


def test_association_stands_beside_likeness_alone():
    assert report.describe_words(content()) == ''  # without words
    became = dict(kept=dict(count=180), asked_other=dict(count=20))
    said = report.describe_words(content(competition=dict(due=200, became=became)))
    assert said.startswith('Association missed the word of 10.0% of the detections; ')
    assert said.endswith("is the wrong one for 12.5% by the detector's embeddings.")


def test_only_gains_that_matter_are_named():
    (line,) = report.list_gains(content())
    assert line == (
        'det_thr 0.3 -> 0.4: HOTA +1.2 on these data (--cfg-options '
        'model.tracker.det_thr=0.4)'
    )
    assert report.list_gains(content(thresholds=None)) == []


def row(page: str, title: str) -> list[str]:
    (line,) = re.findall(rf'^\| {re.escape(title)} +\|(.*)\|$', page, re.M)
    return [cell.strip() for cell in line.split('|')]


def test_the_page_counts():
    page = report.format_page(content())
    assert '14 identities were started for 10 objects; 5 of them (35.7%)' in page
    assert (
        '40 of 400 boxes (10.0%) have no track: 30 are missed by the detector' in page
    )
    assert row(page, SWITCHES['forgotten'].title) == ['5', '25%', '10', '-']
    assert row(page, SWITCHES['took_other'].title) == ['4', '20%', '1', '0.25']
    assert row(page, MISSES['lost_word'].title) == ['10', '25.0%']
    assert f'{SWITCHES["took_other"].title} (7)' in page
    assert 'No detection overlaps 40 of 400 boxes (10.0%)' in page
    assert 'FDTATracker has no ID words' in page
    expected = ['75.0', '40.0', '0.25', '50.0', '50.0']
    assert row(page, 'decoder layer 1') == expected
    page = report.format_page(content(separability=None))
    assert 'have no embeddings' in page


def test_runs_stand_side_by_side():
    other = copy.deepcopy(content(checkpoint='runs/bad.pth'))
    other['switches']['causes'] = dict(unsure=40)
    other['switches']['total'] = 40
    del other['bounds']['scores']['true_boxes']
    other['separability'] = None
    table = report.format_verdict(content(), [other])
    assert row(table, '') == ['good', 'bad']
    assert row(table, 'HOTA, ground-truth boxes') == ['60.0', '-']
    assert row(table, 'switches per 1000 boxes') == ['50.0', '100.0']
    title = f'switches per 1000 boxes, {SWITCHES["unsure"].title}'
    assert row(table, title) == ['0.0', '100.0']
    assert row(table, 'false newborns per 1000 boxes') == ['12.5', '12.5']
    assert row(table, 'boxes missed by association') == ['2.5%', '2.5%']
    assert row(table, 'nearest embedding is wrong, detector') == ['12.5%', '-']


@pytest.mark.parametrize(
    'change, expected',
    [
        (dict(benchmark='mot17'), 'has rules of mot17, expected minidance'),
        (dict(sequences=dict(s0=40)), '1 of 40 frames, expected 2 of 80 frames'),
        (dict(boxes=7), 'has ground-truth boxes 7, expected 400'),
    ],
)
def test_runs_on_other_data_are_not_compared(change, expected):
    mine = content()
    other = content(data=mine['data'] | change)
    report.check_comparable(mine, [content()])
    with pytest.raises(ValueError, match=re.escape(expected)):
        report.check_comparable(mine, [other])


def test_files_are_read_again_and_others_are_refused(tmp_path):
    report.write_report(content(), [], tmp_path)
    assert report.read_content(tmp_path / 'diagnosis.json') == content()
    assert report.read_content(tmp_path) == content()
    path = tmp_path / 'other.json'
    for text, expected in (
        ('{', 'found no JSON'),
        ('[]', 'found format None'),
        (json.dumps(content(format=0)), 'found format 0'),
    ):
        path.write_text(text)
        with pytest.raises(ValueError, match=expected) as caught:
            report.read_content(path)
        assert str(caught.value).startswith(str(path))
        assert '\n' not in str(caught.value)


def test_the_documentation_explains_every_cause():
    page = (ROOT / 'docs' / 'diagnose.md').read_text(encoding='utf-8')
    for meaning in SWITCHES.values():
        assert f'| {meaning.title} | {meaning.text} | {meaning.advice} |' in page
    for key in content():
        assert f'`{key}`' in page, key
