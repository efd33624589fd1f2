# Copyright (c) mmfdta authors.
"""The check of a GPU: on the CPU, and on a machine without a GPU."""

import json
import re

import numpy as np
import pytest
import torch

from mmfdta.apis.gpu_check import processes
from mmfdta.apis.gpu_check.bench import Bench, Settings
from mmfdta.apis.gpu_check.checks import (
    FAIL,
    NOT_RUN,
    PASS,
    SECTIONS,
    Check,
    Found,
    NotRunError,
    Row,
    judge,
    run_checks,
)
from mmfdta.apis.gpu_check.comparing import Pass, difference
from mmfdta.apis.gpu_check.report import count, markdown, write
from mmfdta.apis.gpu_check.tracking import agreement, judge_tracks
from mmfdta.apis.gpu_check.training import compare_steps
from mmfdta.cli.main import main
from mmfdta.structures.tracks import Tracks

SIZE = (96, 64)


def make_check(run, name='one', **more):
    return Check('modules', name, 'this with that', 'nothing', run, **more)


def settings(tmp_path, **changes) -> Settings:
    return Settings('cpu', str(tmp_path), quick=True, sizes=(SIZE,), **changes)


@pytest.fixture
def bench(tmp_path) -> Bench:
    return Bench(settings(tmp_path))


def run_section(section: str, bench: Bench, pattern: str) -> dict[str, Row]:
    """Run the checks of a section whose names begin with a pattern."""
    rows: list[Row] = []
    checks = [
        one
        for one in processes.load_checks()[section]
        if re.match(pattern, one.name) and 'float16' not in one.name.split()
    ]
    assert checks
    run_checks(checks, bench, rows.append)
    assert [row.name for row in rows] == [one.name for one in checks]
    return {row.name: row for row in rows}


# ------------------------------------------------------------------------- the frame
def test_an_error_is_a_row_and_stops_nothing(bench):
    def breaks(bench):
        raise RuntimeError('CUDA out of memory. Tried to\n allocate 2.00 GiB')

    def declines(bench):
        raise NotRunError('there is one card')

    rows: list[Row] = []
    checks = [
        make_check(breaks, 'breaks'),
        make_check(declines, 'declines'),
        make_check(lambda bench: judge(True, 'fine', off=0.0), 'passes'),
        make_check(lambda bench: judge(False, 'worse'), 'fails'),
        make_check(lambda bench: Found('a card | another'), 'says'),
        make_check(lambda bench: judge(True, ''), 'gpu', needs_gpu=True),
    ]
    assert run_checks(checks, bench, rows.append)
    assert [row.judged for row in rows] == [
        'FAIL: RuntimeError: CUDA out of memory. Tried to allocate 2.00 GiB',
        'not run: there is one card',
        'pass',
        'FAIL',
        '-',
        'not run: it needs a CUDA device',
    ]
    assert count(rows) == '1 passed, 2 failed, 2 not run'
    lines = markdown(rows).splitlines()
    assert sum(line.startswith('| ') for line in lines) == 1 + len(rows)
    (cards,) = (line for line in lines if 'a card' in line)
    assert r' a card \| another ' in cards  # within one cell


def test_a_lost_device_ends_the_process(bench):
    def lost(bench):
        raise RuntimeError('CUDA error: an illegal memory access was encountered')

    rows: list[Row] = []
    checks = [make_check(lost), make_check(lambda bench: judge(True, ''))]
    assert not run_checks(checks, bench, rows.append)
    assert [row.verdict for row in rows] == [FAIL]


def test_the_rest_of_a_section_runs_after_a_process_that_died(tmp_path, monkeypatch):
    names = ['first', 'second', 'third', 'fourth']
    checks = [make_check(None, name) for name in names]
    monkeypatch.setattr(processes, 'load_checks', lambda: {'modules': checks})
    asked = []

    def run(settings, section, names):
        asked.append(names)
        log = processes._log(settings, section)
        log.parent.mkdir(parents=True, exist_ok=True)
        log.write_text('Segmentation fault\n\n')
        made = {
            'first': [Row('modules', 'first', '', verdict=PASS)],  # dies in the second
            'third': [Row('modules', 'third', '', verdict=FAIL)],  # gives its GPU up
            'fourth': [Row('modules', 'fourth', '', verdict=PASS)],
        }
        return made[names[0]]

    monkeypatch.setattr(processes, '_run_process', run)
    said: list[Row] = []
    rows = processes.run_sections(settings(tmp_path), ['modules'], said.append)
    assert asked == [names, names[2:], names[3:]]
    assert rows == said
    assert [row.name for row in rows] == names
    assert [row.verdict for row in rows] == [PASS, FAIL, FAIL, PASS]
    assert 'Segmentation fault' in rows[1].reason


def test_names_are_unique_in_their_section():
    for section, checks in processes.load_checks().items():
        names = [one.name for one in checks]
        assert len(set(names)) == len(names), section


@pytest.mark.skipif(torch.cuda.is_available(), reason='there is a GPU')
def test_without_a_gpu(tmp_path, capsys):
    out = tmp_path / 'report'
    assert main(['gpu-check', '--out', str(out)]) == 3
    printed = capsys.readouterr()
    (line,) = printed.err.splitlines()
    assert line.startswith('mmfdta gpu-check: PyTorch finds no CUDA device')
    report = json.loads((out / 'gpu_check.json').read_text())
    for row in report['rows']:
        own = row['section'] == 'environment'
        assert row['verdict'] == ('-' if own else NOT_RUN), row
        assert own or row['reason'] == 'no CUDA device'
        assert row['name'] in printed.out
    assert {row['section'] for row in report['rows']} == set(SECTIONS)
    assert report['summary'] in printed.out
    assert torch.__version__ in (out / 'gpu_check.md').read_text()
    assert main(['gpu-check', '--device', 'cuda:0', '--out', str(out)]) == 1
    assert 'finds no CUDA device' in capsys.readouterr().err


def test_the_json_has_no_number_that_json_lacks(tmp_path):
    numbers = dict(loss=float('nan'), norms=[1.0, float('inf')])
    row = make_check(print).row(judge(False, 'nan', **numbers))
    _, path = write(settings(tmp_path), [row])

    def refuse(constant):
        raise AssertionError(constant)

    (found,) = json.loads(path.read_text(), parse_constant=refuse)['rows']
    assert found['numbers'] == dict(loss='nan', norms=[1.0, 'inf'])


# ------------------------------------------------------------------------ comparisons
def test_difference_is_of_the_norm():
    a, b = torch.tensor([3.0, 4.0]), torch.tensor([3.0, 4.5])
    assert difference([b], [a]) == pytest.approx(0.1)
    assert difference([a, a], [a, a]) == 0
    infinite = torch.tensor([1.0, float('-inf')])
    assert difference([infinite], [infinite]) == 0
    assert difference([torch.tensor([1.0, float('nan')])], [a]) == float('inf')
    with pytest.raises(ValueError, match='shapes'):
        difference([a], [a[:1]])


def test_a_pass_takes_gradients_of_arguments_and_parameters():
    layer = torch.nn.Linear(2, 3)
    x = torch.ones(1, 2, requires_grad=True)
    found = Pass(layer, [x], list(layer.parameters()))
    weights = (torch.arange(3) * 0.7).sin()
    expected = [(weights @ layer.weight)[None], weights[:, None].expand(3, 2), weights]
    for grad, other in zip(found.gradients, expected, strict=True):
        torch.testing.assert_close(grad, other)


def test_agreement_counts_boxes_with_their_identity():
    def frame(*boxes):
        identity = [i for i, _ in boxes]
        xywh = [[x, 0.0, 10.0, 10.0] for _, x in boxes]
        return Tracks.create([1] * len(boxes), identity, xywh)

    expected = [frame((0, 0.0), (1, 50.0)), frame((0, 2.0), (1, 52.0))]
    found = [frame((1, 50.1), (0, 0.0)), frame((0, 52.0), (1, 2.0))]
    both = agreement(found, expected)
    assert (both.frames, both.boxes, both.of_boxes) == (1, 2, 4)
    assert both.pixels == pytest.approx(50.0)


def test_what_only_one_side_tracks_is_no_agreement():
    def frame(*identities):
        xywh = [[30.0 * i, 0, 10, 10] for i in identities]
        return Tracks.create([1] * len(xywh), identities, np.reshape(xywh, (-1, 4)))

    few, many = [frame(0, 1), frame(0)], [frame(0, 1, 2, 3), frame(0)]
    for found, expected in ((many, few), (few, many)):
        both = agreement(found, expected)
        assert (both.boxes, both.of_boxes, both.kept) == (3, 5, 3 / 5)
        assert judge_tracks(found, expected).verdict == FAIL
        assert judge_tracks(found, expected, 0.8).verdict == FAIL
    # One more here does not make up for one less there.
    other = [frame(0), frame(0, 1)]
    assert agreement(other, few).share == pytest.approx(2 / 4)
    assert judge_tracks(few, few).verdict == PASS


@pytest.mark.parametrize(
    ('arguments', 'said'),
    [
        (['--device', 'foo'], 'device string: foo; name a device such as cpu'),
        (['--device', 'cuda:x'], "device string: 'cuda:x'"),
        (['--device', 'meta'], '--device: found meta, expected cpu, or cuda:0'),
        (['--device', 'cuda:2'], 'found cuda:2, expected cuda:0 to cuda:1'),
        (['--sizes', '64x64', '96x64', '128x64'], 'found 3 sizes, expected at most 2'),
    ],
)
def test_options_are_checked_before_anything_runs(
    arguments, said, tmp_path, capsys, monkeypatch
):
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: True)
    monkeypatch.setattr(torch.cuda, 'device_count', lambda: 2)
    out = tmp_path / 'out'
    assert main(['gpu-check', '--out', str(out), *arguments]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert said in line and not out.exists()


def test_steps_are_judged_by_their_worst():
    expected = {'loss': 9.0, 'gradient of a': 2.0, 'gradient of b': 0.01}
    assert compare_steps(dict(expected, loss=9.009), expected, 1e-3, 0).verdict == PASS
    assert compare_steps(dict(expected, loss=9.1), expected, 1e-3, 0).verdict == FAIL
    other = {**expected, 'gradient of b': 0.02}
    assert compare_steps(other, expected, 0, 1e-2).verdict == PASS
    assert compare_steps(other, expected, 0, 1e-3).verdict == FAIL
    other = dict(expected, loss=float('nan'))
    assert compare_steps(other, expected, 1, 1).verdict == FAIL
    assert compare_steps({'loss': 9.0}, expected, 1, 1).verdict == FAIL


# ------------------------------------------------------ the checks, the CPU with itself
QUICK = {
    'modules': r'(?!attention).*(?<!65 pictures)$',
    'tracking': 'FDTA',
    'training': 'FDTA, a step',
    'precision': 'FDTA, a video, bf16',
}
REST = {
    **dict(modules='attention.*32', tracking='(?!FDTA)', training='MOTR', run=''),
    **dict(ddp='', speed='.*(largest size, fp32|step, fp32)$', synchronisations=''),
}


@pytest.mark.parametrize('section', QUICK)
def test_the_cpu_agrees_with_itself(section, bench):
    for row in run_section(section, bench, QUICK[section]).values():
        assert row.verdict == PASS, row


@pytest.mark.slow
@pytest.mark.parametrize('section', REST)
def test_the_rest_runs_on_the_cpu(section, bench):
    for row in run_section(section, bench, REST[section]).values():
        assert row.verdict != FAIL, row
        needs_gpu = section == 'synchronisations'
        assert (row.reason == 'it needs a CUDA device') == needs_gpu, row


def test_a_wrong_module_fails(bench, monkeypatch):
    """One that computes something else away from the CPU."""
    from mmfdta.models.adapters import TemporalAdapter

    forward, calls = TemporalAdapter.forward, []

    def wrong(self, *args):
        calls.append(1)
        return forward(self, *args) * (1.0 if len(calls) == 1 else 1.001)

    monkeypatch.setattr(TemporalAdapter, 'forward', wrong)
    (one,) = (c for c in processes.load_checks()['modules'] if 'Temporal' in c.name)
    rows: list[Row] = []
    run_checks([one], bench, rows.append)
    assert rows[0].verdict == FAIL
    assert rows[0].numbers['values'] == pytest.approx(1e-3, rel=0.1)
