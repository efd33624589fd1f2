# Copyright (c) mmfdta authors.
"""DepthBinLoss against goldens, plain loops and gradcheck."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from mmdet.registry import MODELS
from torch import Tensor

from mmfdta.models.losses import DepthBinLoss, depth_targets, foreground_mask
from mmfdta.ops import softmax_focal_loss as blocks
from mmfdta.ops.softmax_focal_loss import plain_softmax_focal_loss
from mmfdta.utils.depth import lid_bin_values

DATA = Path(__file__).parents[2] / 'golden/data/loss_depth.npz'


def plain_mask(cells: Tensor, frame_inds: Tensor, shape: tuple) -> np.ndarray:
    """Foreground by slicing, box by box."""
    mask = np.zeros(shape, dtype=bool)
    for (x1, y1, x2, y2), frame in zip(
        cells.tolist(), frame_inds.tolist(), strict=True
    ):
        rows = slice(math.floor(y1), math.ceil(y2))
        mask[frame, rows, math.floor(x1) : math.ceil(x2)] = True
    return mask


@pytest.fixture
def golden() -> dict[str, Tensor]:
    with np.load(DATA) as file:
        return {key: torch.as_tensor(file[key]) for key in file if key != 'meta'}


@pytest.fixture
def scene() -> dict[str, Tensor]:
    """Two frames of 7x5, 8 bins, three boxes, one of them leaving the image."""
    return dict(
        depth_logits=torch.randn(2, 9, 7, 5, dtype=torch.double, requires_grad=True),
        depth_maps=torch.randint(0, 256, (2, 1, 30, 23)),
        cells=torch.tensor(
            [[0.3, 1.2, 2.1, 3.0], [2.0, 2.5, 8.0, 9.0], [-0.4, 1, 3, 3]]
        ),
        frame_inds=torch.tensor([0, 1, 1]),
    )


def test_golden(golden: dict[str, Tensor]):
    logits = golden['in_depth_logits'].requires_grad_()
    counts = golden['in_num_gt_per_img']
    frame_inds = torch.arange(len(counts)).repeat_interleave(counts)
    loss = MODELS.build(dict(type='DepthBinLoss', num_bins=150, fg_weight=6.0))(
        logits, golden['in_depthmaps'], golden['in_gt_boxes2d'], frame_inds
    )
    assert loss.item() == pytest.approx(golden['out_loss'].item(), rel=1e-5)
    (grad,) = torch.autograd.grad(loss, logits)
    torch.testing.assert_close(grad, golden['out_grad_depth_logits'], rtol=0, atol=1e-6)
    size = logits.shape[-2:]
    bins = depth_targets(golden['in_depthmaps'], size)
    assert torch.equal(bins, golden['out_target_bins'])
    mask = foreground_mask(golden['in_gt_boxes2d'], frame_inds, (len(counts), *size))
    assert torch.equal(mask, golden['out_fg_mask'])


@given(
    st.lists(
        st.tuples(st.integers(0, 2), *[st.floats(-20, 20, width=32)] * 4), max_size=8
    )
)
def test_foreground_slices_like_python(rows: list[tuple]):
    shape = (3, 6, 9)
    cells = torch.tensor([row[1:] for row in rows]).reshape(-1, 4)
    frame_inds = torch.tensor([row[0] for row in rows], dtype=torch.long)
    found = foreground_mask(cells, frame_inds, shape)
    assert np.array_equal(found.numpy(), plain_mask(cells, frame_inds, shape))
    found = foreground_mask(cells, frame_inds, shape, clip_boxes=True)
    expected = plain_mask(cells.clamp(min=0), frame_inds, shape)
    assert np.array_equal(found.numpy(), expected)


@pytest.mark.parametrize('block', [1, 60, 2**20])
@pytest.mark.parametrize('gamma', [1.0, 2.0, 2.5])
def test_equals_written_out_formula(
    scene: dict, gamma: float, block: int, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(blocks, '_BLOCK_ELEMENTS', block)
    loss_module = DepthBinLoss(
        num_bins=8, fg_weight=5, bg_weight=0.5, gamma=gamma, loss_weight=2
    )
    found = loss_module(**scene, avg_factor=3)
    logits = scene['depth_logits']
    target = depth_targets(scene['depth_maps'], (7, 5), num_bins=8)
    mask = plain_mask(scene['cells'], scene['frame_inds'], (2, 7, 5))
    weight = torch.where(torch.as_tensor(mask), 5, 0.5).double()
    weight *= 2 / 3 / 35
    expected = plain_softmax_focal_loss(logits, target, weight, 0.25, gamma)
    torch.testing.assert_close(found, expected)
    grads = [torch.autograd.grad(x, logits)[0] for x in (found, expected)]
    # The trace of the other bins is a millionth of the rest.
    torch.testing.assert_close(*grads, rtol=1e-7, atol=1e-13)


@pytest.mark.parametrize('size', [(151, 100, 180), (151, 270, 480), (11, 8, 12)])
def test_blocks_of_a_device_are_few(size: tuple[int, int, int]):
    for number in (1, 4, 7, 9, 15, 16, 17, 30, 240):
        logits = torch.empty(number, *size, device='meta')
        frames, rows = blocks._block_shape(logits)
        assert rows == size[1]
        assert frames <= number
        assert -(-number // frames) <= 8


@pytest.mark.parametrize('gamma', [1.5, 2.0])
def test_gradcheck(scene: dict, gamma: float):
    logits = scene.pop('depth_logits')[:, :, :3]
    loss_module = DepthBinLoss(num_bins=8, gamma=gamma)
    assert torch.autograd.gradcheck(lambda x: loss_module(x, **scene), logits)


def test_a_frame_without_a_map_has_no_loss(scene: dict):
    scene['depth_maps'] = scene['depth_maps'].float()
    loss = DepthBinLoss(num_bins=8)
    each = [
        loss(
            scene['depth_logits'][[i]],
            scene['depth_maps'][[i]],
            scene['cells'][scene['frame_inds'] == i],
            torch.zeros_like(scene['frame_inds'][scene['frame_inds'] == i]),
        )
        for i in range(2)
    ]
    torch.testing.assert_close(loss(**scene), sum(each))
    scene['depth_maps'][0] = torch.nan
    found = loss(**scene)
    torch.testing.assert_close(found, each[1])
    found.backward()
    grad = scene['depth_logits'].grad
    assert not grad[0].any() and grad[1].isfinite().all() and grad[1].any()


def test_memory_layout_does_not_matter(scene: dict):
    loss_module = DepthBinLoss(num_bins=8)
    expected = loss_module(**scene)
    scene['depth_logits'] = scene['depth_logits'].contiguous(
        memory_format=torch.channels_last
    )
    torch.testing.assert_close(loss_module(**scene), expected)


def test_low_precision_is_computed_in_float32(scene: dict):
    half = scene.pop('depth_logits').detach().to(torch.bfloat16).requires_grad_()
    loss_module = DepthBinLoss(num_bins=8)
    with torch.autocast('cpu', dtype=torch.bfloat16):
        loss = loss_module(half, **scene)
    full = half.detach().double().requires_grad_()
    expected = loss_module(full, **scene)
    assert loss.dtype == torch.float32
    assert loss.item() == pytest.approx(expected.item(), rel=1e-6)
    loss.backward()
    expected.backward()
    torch.testing.assert_close(half.grad, full.grad.to(torch.bfloat16))


def test_confident_logits_stay_finite(scene: dict):
    logits = (scene.pop('depth_logits').detach().float() * 1e4).requires_grad_()
    loss = DepthBinLoss(num_bins=8)(logits, **scene)
    loss.backward()
    assert loss.isfinite()
    assert logits.grad.isfinite().all()


@pytest.mark.parametrize('frames', [0, 2])
def test_no_boxes(frames: int):
    logits = torch.randn(frames, 9, 4, 6, requires_grad=True)
    loss = DepthBinLoss(num_bins=8)(
        logits,
        torch.full((frames, 1, 8, 8), 100),
        torch.zeros(0, 4),
        torch.zeros(0, dtype=torch.long),
    )
    target = depth_targets(torch.full((frames, 1, 8, 8), 100), (4, 6), num_bins=8)
    weight = torch.full(target.shape, 1 / 24)
    expected = plain_softmax_focal_loss(logits, target, weight, 0.25, 2.0)
    torch.testing.assert_close(loss, expected)
    loss.backward()
    assert logits.grad.shape == logits.shape


def test_bins_follow_their_edges():
    """Depths in the middle of a bin's edges (closed form of LID) get its index."""
    edges = 1e-3 + 255.999 * np.arange(151) * np.arange(1, 152) / (150 * 151)
    maps = torch.as_tensor((edges[:-1] + edges[1:]) / 2).reshape(150, 1, 1, 1)
    found = depth_targets(maps, (1, 1)).flatten()
    assert torch.equal(found, torch.arange(150))


def test_depths_out_of_range():
    maps = torch.tensor([0.0, 300.0, float('nan'), -5.0]).reshape(4, 1, 1, 1)
    assert depth_targets(maps, (1, 1)).flatten().tolist() == [150] * 4
    clamped = depth_targets(maps[[0, 1, 3]], (1, 1), clamp_depth=True)
    assert clamped.flatten().tolist() == [0, 150, 0]
    # The adapter reads them as the nearest depths that it knows.
    read = lid_bin_values(150, 1e-3, 256.0)[clamped.flatten()]
    torch.testing.assert_close(read, maps[[0, 1, 3]].flatten().clamp(1e-3, 256.0))


def test_padding_switch_equals_the_unpadded_frame(scene: dict):
    """With mask_padding a padded map gives what the unpadded one gives."""
    loss_module = DepthBinLoss(num_bins=8, mask_padding=True)
    boxes = torch.tensor([[0.4, 0.5, 0.3, 0.6], [0.7, 0.4, 0.5, 0.5]])
    frames = torch.tensor([0, 1])
    logits, maps = scene['depth_logits'], scene['depth_maps'][..., :28, :20]
    cells = loss_module.box_cells(boxes, frames, (7, 5))
    expected = loss_module(logits, maps, cells, frames)

    padding = torch.ones(2, 9, 8, dtype=torch.bool)
    padding[:, :7, :5] = False
    padded = F.pad(logits, (0, 3, 0, 2), value=4.0)
    # Resizing by 4 mixes no pixels across the seam.
    padded_maps = F.pad(maps, (0, 12, 0, 8))
    cells = loss_module.box_cells(boxes, frames, (9, 8), padding)
    found = loss_module(padded, padded_maps, cells, frames, padding)
    torch.testing.assert_close(found, expected)

    released = DepthBinLoss(num_bins=8)
    cells = released.box_cells(boxes, frames, (9, 8), padding)
    torch.testing.assert_close(
        cells[0], torch.tensor([0.25 * 8, 0.2 * 9, 0.55 * 8, 0.8 * 9])
    )
    assert released(padded, padded_maps, cells, frames, padding) != found


@pytest.mark.parametrize(
    'setting', [dict(gamma=0.5), dict(num_bins=0), dict(depth_min=3, depth_max=2)]
)
def test_bad_settings(setting: dict):
    with pytest.raises(ValueError, match=next(iter(setting))):
        DepthBinLoss(**setting)


def test_bad_inputs(scene: dict):
    with pytest.raises(ValueError, match='expected 151 channels'):
        DepthBinLoss()(**scene)
    scene['depth_maps'] = scene['depth_maps'].expand(-1, 3, -1, -1)
    with pytest.raises(ValueError, match=r'grey maps of shape \(F, 1, H, W\), found'):
        DepthBinLoss(num_bins=8)(**scene)
