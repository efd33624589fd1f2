# Copyright (c) mmfdta authors.
"""One training step against the released one, to the optimiser's update."""

import numpy as np
import pytest
from cases import run_case
from golden_files import Golden, assert_close, load_golden

NOT_OURS = ('class_error', 'cardinality_error')
EPOCHS = ('epoch0', 'epoch1')


@pytest.fixture(scope='module')
def golden() -> Golden:
    return load_golden('train_step')


@pytest.fixture(scope='module')
def found(golden: Golden) -> dict[str, np.ndarray]:
    return run_case('train_step', golden.inputs, golden.settings, golden.seed)


def _by_name(source: dict, epoch: str, field: str, names: str = 'grad_names') -> dict:
    keys, values = source[f'{epoch}_{names}'], source[f'{epoch}_{field}']
    return dict(zip(keys.tolist(), values.tolist(), strict=True))


@pytest.mark.parametrize('epoch', EPOCHS)
def test_metrics(golden: Golden, found: dict, epoch: str):
    ours = _by_name(found, epoch, 'metric_values', 'metric_names')
    theirs = _by_name(golden.outputs, epoch, 'metric_values', 'metric_names')
    theirs = {k: v for k, v in theirs.items() if not k.startswith(NOT_OURS)}
    assert ours.keys() == theirs.keys()
    for name, value in theirs.items():
        np.testing.assert_allclose(ours[name], value, rtol=1e-4, err_msg=name)


def _expected(golden: Golden, epoch: str, field: str) -> dict:
    """Released values by name, without the bin values, a buffer here."""
    values = _by_name(golden.outputs, epoch, field)
    return {k: v for k, v in values.items() if not k.endswith('depth_bin_values')}


@pytest.mark.parametrize('epoch', EPOCHS)
def test_parameters(golden: Golden, found: dict, epoch: str):
    """What trains there trains here; batch norm's frozen scales are buffers there."""
    expected = _expected(golden, epoch, 'requires_grad')
    ours = _by_name(found, epoch, 'requires_grad')
    assert expected.items() <= ours.items()
    assert not any(ours[name] for name in ours.keys() - expected.keys())


@pytest.mark.parametrize('epoch', EPOCHS)
def test_gradient_norms(golden: Golden, found: dict, epoch: str):
    ours = _by_name(found, epoch, 'grad_norms')
    for name, value in _expected(golden, epoch, 'grad_norms').items():
        if epoch == 'epoch0' and name.startswith('criterion.'):
            # Zero here instead of absent, so that DDP sees every parameter; the
            # optimiser leaves it out, see `test_updates`.
            assert np.isnan(value)
            assert ours[name] == 0
        else:
            np.testing.assert_allclose(
                ours[name], value, rtol=1e-3, atol=1e-5, err_msg=name
            )


def test_gradient_samples(golden: Golden, found: dict):
    rows = golden.outputs['picked_grad_samples']
    for name, row in zip(golden.outputs['picked_names'], rows, strict=True):
        grad = found['grads'][name]
        flat = grad.flatten()
        sample = flat[:: max(1, len(flat) // 16)][:16].numpy()
        expected = row[: len(sample)]
        assert np.isnan(row[len(sample) :]).all()
        assert_close(name, sample, expected, atol=1e-3 * float(grad.abs().max()))


@pytest.mark.parametrize('epoch', EPOCHS)
def test_parameter_groups(golden: Golden, found: dict, epoch: str):
    """Every parameter learns at the rate of its released group."""
    rates = golden.outputs[f'{epoch}_lr_of_groups']
    names = golden.outputs['epoch1_grad_names'].tolist()
    groups = dict(zip(names, golden.outputs['param_group_index'].tolist(), strict=True))
    for name, rate in _by_name(found, epoch, 'lr_of_parameters').items():
        group = groups.get(name, -1)
        expected = np.nan if group < 0 else rates[group]
        np.testing.assert_allclose(rate, expected, rtol=1e-6, err_msg=name)


@pytest.mark.parametrize('epoch', EPOCHS)
def test_updates(golden: Golden, found: dict, epoch: str):
    """The contrastive MLP (``criterion.``) neither moves nor decays in epoch 0."""
    ours = _by_name(found, epoch, 'update_norms')
    for name, value in _expected(golden, epoch, 'update_norms').items():
        if name.startswith('criterion.'):
            assert (value > 0) == (epoch == 'epoch1')
        np.testing.assert_allclose(
            ours[name], value, rtol=1e-3, atol=1e-7, err_msg=name
        )


@pytest.mark.parametrize('epoch', EPOCHS)
def test_association(golden: Golden, found: dict, epoch: str):
    for field in ('id_gts', 'id_masks'):
        name = f'{epoch}_{field}'
        np.testing.assert_array_equal(found[name], golden.outputs[name][0][None])
    name = f'{epoch}_id_logits'
    assert_close(name, found[name], golden.outputs[name], atol=5e-4)


def test_matching(golden: Golden, found: dict):
    for name in ('matched_src', 'matched_tgt'):
        np.testing.assert_array_equal(found[name], golden.outputs[name])


def test_sequences(golden: Golden, found: dict):
    for name in ('seq_trajectory_features', 'seq_unknown_features'):
        assert_close(name, found[name], golden.outputs[name], atol=5e-4)
    for name in ('seq_trajectory_masks', 'seq_unknown_masks'):
        np.testing.assert_array_equal(found[name], golden.outputs[name])
