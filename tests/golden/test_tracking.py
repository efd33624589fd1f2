# Copyright (c) mmfdta authors.
"""Tracks against the released ones: the same identities in every frame."""

import numpy as np
import pytest
from cases import run_case
from golden_files import DATA, Golden, load_golden
from PIL import Image

PROTOCOLS = ('object_max', 'hungarian', 'id_max')


@pytest.fixture(scope='module')
def assignment() -> tuple[Golden, dict]:
    golden = load_golden('assignment')
    recorded = {
        f'scripted_{p}_id_logits': golden.outputs[f'scripted_{p}_id_logits']
        for p in PROTOCOLS
    }
    inputs = golden.inputs | recorded
    return golden, run_case('assignment', inputs, golden.settings, golden.seed)


@pytest.mark.parametrize('protocol', PROTOCOLS)
@pytest.mark.parametrize('scenario', ['real', 'scripted'])
def test_assignment(assignment, scenario: str, protocol: str):
    golden, found = assignment
    prefix = f'{scenario}_{protocol}'
    for field in ('frame', 'id'):
        name = f'{prefix}_{field}'
        np.testing.assert_array_equal(found[name], golden.outputs[name])
    for field, atol in (('xywh', 1e-2), ('score', 1e-6)):
        name = f'{prefix}_{field}'
        np.testing.assert_allclose(found[name], golden.outputs[name], atol=atol, rtol=0)


def _rows(path) -> np.ndarray:
    return np.loadtxt(path, delimiter=',', usecols=range(6))


def test_end_to_end():
    """PNG files in, tracks out, through the test pipeline of the config."""
    golden = load_golden('end_to_end')
    images = sorted((DATA / 'end_to_end/img1').glob('*.png'))
    frames = np.stack([np.asarray(Image.open(path)) for path in images])
    inputs = golden.inputs | {'frames': frames}
    found = run_case('end_to_end', inputs, golden.settings, golden.seed)
    expected = golden.outputs
    for name, atol in (
        ('network_input_shape', 0),
        ('network_input_frame0', 1e-6),
        ('pred_logits', 1e-3),
        ('pred_boxes', 2e-5),
    ):
        np.testing.assert_allclose(
            found[name], expected[name], atol=atol, rtol=0, err_msg=name
        )
    for protocol in PROTOCOLS:
        text = DATA / f'end_to_end/{protocol.replace("_", "-")}.txt'
        rows, ours = _rows(text), found[f'tracks_{protocol}']
        np.testing.assert_array_equal(ours[:, :2], rows[:, :2])
        np.testing.assert_allclose(ours[:, 2:], rows[:, 2:], atol=0.01, rtol=0)
