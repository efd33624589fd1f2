# Copyright (c) mmfdta authors.
"""Matching and detection losses against the released criterion."""

import numpy as np
import pytest
from cases import run_case
from golden_files import Golden, assert_close, load_golden

LAYERS = [f'aux{i}' for i in range(5)] + ['final']
# Logged by the released code only.
NOT_OURS = ('class_error', 'cardinality_error')


@pytest.fixture(scope='module')
def golden() -> Golden:
    return load_golden('loss_set')


@pytest.fixture(scope='module')
def found(golden: Golden) -> dict[str, np.ndarray]:
    return run_case('loss_set', golden.inputs, golden.settings, golden.seed)


@pytest.mark.parametrize('layer', LAYERS)
def test_matching(golden: Golden, found: dict, layer: str):
    for part in ('src', 'tgt'):
        name = f'match_{layer}_{part}'
        np.testing.assert_array_equal(found[name], golden.outputs[name])
    name = f'match_{layer}_giou'
    assert_close(name, found[name], golden.outputs[name], atol=1e-5)


def test_association_takes_the_last_auxiliary_matching(golden: Golden, found: dict):
    for name in ('returned_src', 'returned_tgt'):
        np.testing.assert_array_equal(found[name], golden.outputs[name])


@pytest.mark.parametrize('epoch', ['epoch0', 'epoch1'])
def test_losses(golden: Golden, found: dict, epoch: str):
    def named(source: dict) -> dict[str, float]:
        return dict(
            zip(
                source[f'{epoch}_loss_names'],
                source[f'{epoch}_loss_values'],
                strict=True,
            )
        )

    ours = named(found)
    theirs = {
        k: v for k, v in named(golden.outputs).items() if not k.startswith(NOT_OURS)
    }
    assert ours.keys() == theirs.keys()
    for name, value in theirs.items():
        np.testing.assert_allclose(ours[name], value, rtol=1e-5, err_msg=name)
    total = f'{epoch}_total'
    assert_close(total, found[total], golden.outputs[total], rtol=1e-5)


def test_one_chunk(golden: Golden, found: dict):
    """Chunks matter to the contrastive loss alone."""
    names = list(golden.outputs['epoch1_loss_names'])
    expected = golden.outputs['one_chunk_loss_values'][names.index('loss_contrastive')]
    ours = list(found['epoch1_loss_names'])
    value = found['one_chunk_loss_values'][ours.index('loss_contrastive')]
    np.testing.assert_allclose(value, expected, rtol=1e-5)


@pytest.mark.parametrize('name', ['pred_logits', 'pred_boxes', 'outputs'])
def test_gradients(golden: Golden, found: dict, name: str):
    assert_close(name, found[f'grad_{name}'], golden.outputs[f'grad_{name}'], atol=1e-6)


@pytest.mark.parametrize(
    'name',
    [
        'grad_pred_depth_map_logits_norm',
        'grad_aux_norms',
        'epoch1_track_embed_gradnorm',
    ],
)
def test_gradient_norms(golden: Golden, found: dict, name: str):
    assert_close(name, found[name], golden.outputs[name], rtol=1e-4)
