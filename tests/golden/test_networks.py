# Copyright (c) mmfdta authors.
"""Networks against the released ones: same weights, same input, same output."""

import pytest
from cases import run_case
from golden_files import assert_close, assert_close_to_scale, load_golden

# Tolerances of data/README.md.
SPATIAL = dict(
    depth_logits=5e-5,
    weighted_depth=1e-3,
    depth_embed=5e-4,
    depth_pos_embed_ip=5e-4,
    depth_bin_values=0,
)
DETR = dict(
    pred_logits=1e-3,
    aux0_pred_logits=1e-3,
    aux4_pred_logits=1e-3,
    pred_boxes=2e-5,
    aux0_pred_boxes=2e-5,
    aux4_pred_boxes=2e-5,
    outputs=5e-4,
    pred_depth_map_logits=2e-4,
    weighted_depth=3e-3,
)


def test_spatial():
    golden = load_golden('spatial')
    found = run_case('spatial', golden.inputs, golden.settings, golden.seed)
    for name, atol in SPATIAL.items():
        assert_close(name, found[name], golden.outputs[name], atol=atol)
    for name in ('gradnorm_of_mean_sq_depth_embed', 'gradnorm_of_mean_sq_logits'):
        assert_close(name, found[name], golden.outputs[name], rtol=1e-4)


def test_detr():
    golden = load_golden('detr')
    found = run_case('detr', golden.inputs, golden.settings, golden.seed)
    for name, atol in DETR.items():
        assert_close(name, found[name], golden.outputs[name], atol=atol)


@pytest.mark.parametrize(
    ('case', 'names'),
    [
        ('temporal', ('trajectory_features', 'lone_intended', 'pos_embed')),
        ('trajectory_modeling', ('trajectory_features',)),
    ],
)
def test_trajectories(case: str, names: tuple[str, ...]):
    golden = load_golden(case)
    found = run_case(case, golden.inputs, golden.settings, golden.seed)
    for name in names:
        assert_close(name, found[name], golden.outputs[name], atol=1e-5)


def test_temporal_leaves_masks_alone():
    golden = load_golden('temporal')
    found = run_case('temporal', golden.inputs, golden.settings, golden.seed)
    assert_close('masks', found['masks_after'], golden.outputs['masks_after'])


def test_id_decoder():
    golden = load_golden('id_decoder')
    found = run_case('id_decoder', golden.inputs, golden.settings, golden.seed)
    for name in (
        'eval_id_logits',
        'train_id_logits',
        'train_aux_id_logits_layers_0_3',
    ):
        assert_close(name, found[name], golden.outputs[name], atol=1e-4)
    expected = golden.outputs
    assert_close('loss', found['train_id_loss'], expected['train_id_loss'], rtol=1e-5)
    for name in ('train_gradnorm', 'train_grad_rel_pos_embeds'):
        assert_close_to_scale(name, found[name], expected[name], rtol=1e-4)
