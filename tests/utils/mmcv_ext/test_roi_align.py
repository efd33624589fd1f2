# Copyright (c) mmfdta authors.
"""RoI align against loops over samples, in whichever state MMCV is.

`extension` is the stand-in and the extension in use, as in `test_suppression.py`.
"""

import importlib
import math
import sys

import mmcv.ops
import pytest
import torch

from mmfdta.utils import mmcv_ext as operators

STAND_IN = operators.make_stand_in('for the tests')
IN_USE = sys.modules[operators.EXTENSION]
# In the first map and in the second; across each edge; a point; the whole image.
ROIS = torch.tensor(
    [
        [0, 3.0, 2.0, 17.0, 11.0],
        [1, 0.0, 0.0, 27.0, 19.0],
        [1, -9.0, -30.0, 12.0, 9.0],
        [0, 20.0, 15.0, 90.0, 26.0],
        [0, 8.0, 8.0, 8.0, 8.0],
        [1, 4.0, 6.0, 4.5, 16.0],
    ]
)


@pytest.fixture(params=[STAND_IN, IN_USE], ids=['stand-in', 'in use'], autouse=True)
def extension(request, monkeypatch):
    module = importlib.import_module('mmcv.ops.roi_align')
    monkeypatch.setattr(module, 'ext_module', request.param)


def _interpolate(feature, y: float, x: float):
    """Bilinear value (C,) at a point; 0 further than a pixel out of the map."""
    height, width = feature.shape[1:]
    if not (-1 <= y <= height and -1 <= x <= width):
        return torch.zeros(len(feature), dtype=feature.dtype)
    y, x = min(max(y, 0), height - 1), min(max(x, 0), width - 1)
    top, left = math.floor(y), math.floor(x)
    bottom, right = min(top + 1, height - 1), min(left + 1, width - 1)
    dy, dx = y - top, x - left
    return (
        feature[:, top, left] * (1 - dy) * (1 - dx)
        + feature[:, top, right] * (1 - dy) * dx
        + feature[:, bottom, left] * dy * (1 - dx)
        + feature[:, bottom, right] * dy * dx
    )


def _by_loops(maps, rois, size, scale: float, ratio: int, aligned: bool):
    found = torch.zeros(len(rois), maps.shape[1], *size, dtype=maps.dtype)
    for n, (image, *box) in enumerate(rois.tolist()):
        x1, y1, x2, y2 = (value * scale - 0.5 * aligned for value in box)
        width, height = x2 - x1, y2 - y1
        if not aligned:
            width, height = max(width, 1), max(height, 1)
        cell = height / size[0], width / size[1]
        counts = [ratio or math.ceil(length) for length in cell]
        for row in range(size[0]):
            for column in range(size[1]):
                values = [
                    _interpolate(
                        maps[int(image)],
                        y1 + (row + (i + 0.5) / counts[0]) * cell[0],
                        x1 + (column + (j + 0.5) / counts[1]) * cell[1],
                    )
                    for i in range(counts[0])
                    for j in range(counts[1])
                ]
                if values:
                    found[n, :, row, column] = torch.stack(values).mean(0)
    return found


@pytest.mark.parametrize('aligned', [True, False])
@pytest.mark.parametrize('ratio', [2, 3, 0])
def test_averages_are_those_of_loops_over_samples(ratio: int, aligned: bool):
    maps = torch.randn(2, 3, 5, 7)
    args = ROIS, (2, 3), 0.25, ratio
    found = mmcv.ops.roi_align(maps, *args, 'avg', aligned)
    expected = _by_loops(maps, *args, aligned)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
    assert found.abs().sum((1, 2, 3))[:4].all()


@pytest.mark.parametrize('ratio', [2, 0])
def test_gradients_are_finite_differences(ratio: int):
    maps = torch.randn(2, 2, 3, 4, dtype=torch.float64, requires_grad=True)
    rois = ROIS.double()

    def pooled(maps):
        return mmcv.ops.roi_align(maps, rois, (2, 2), 0.15, ratio, 'avg', True)

    assert torch.autograd.gradcheck(pooled, (maps,))


def test_no_boxes():
    maps = torch.randn(1, 2, 3, 4, requires_grad=True)
    pooled = mmcv.ops.roi_align(maps, torch.zeros(0, 5), (7, 7), 0.25, 2, 'avg', True)
    assert pooled.shape == (0, 2, 7, 7)
    pooled.sum().backward()
    assert not maps.grad.any()


def test_a_map_of_one_pixel():
    maps = torch.full((1, 1, 1, 1), 3.0)
    pooled = mmcv.ops.roi_align(maps, torch.tensor([[0, 0, 0, 4.0, 4.0]]), 2, 0.25, 2)
    torch.testing.assert_close(pooled, torch.full((1, 1, 2, 2), 3.0))


def test_the_maximum_says_what_it_needs(request):
    if request.node.callspec.id == 'in use' and operators.has_compiled_operators():
        pytest.skip('compiled operators have it')
    with pytest.raises(NotImplementedError, match="pool_mode='max'.*compiled"):
        mmcv.ops.roi_align(torch.rand(1, 1, 4, 4), ROIS[:1], 2, 1.0, 2, 'max')
