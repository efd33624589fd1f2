# Copyright (c) mmfdta authors.
"""Where labels stand, so that they hide little of a crowd."""

from collections.abc import Sequence

import numpy as np

# What a label costs for each pixel of what it covers.
_OTHER, _OTHER_HEAD = 1.0, 2.0
_OWN, _OWN_HEAD = 0.3, 0.6
_LABEL = 40.0
# As a share of the label's area: another place than in the frame before, so that labels
# do not jump, and each step down the list of places.
_MOVED, _STEP = 0.4, 0.02
# Frames after which a label goes back to the usual place when nothing is there.
_RETURN = 15
# The upper part of a box, which tells most of an object.
_HEAD = 0.3
# Objects are counted on a grid of at most so many cells on the image's shorter side.
_CELLS = 270
_PLACES = 12


class LabelPlacer:
    """Chooses a place next to or in its box for each label of a frame.

    A place above the box, to the left, is taken if it covers nothing. Where it would
    cover other objects or labels, the place that covers least is taken, the upper part
    of a box counting double. Nearer objects, which end lower, choose first. An object
    keeps its place from frame to frame unless another one is clearly better, or the
    usual one has been free for a while.
    """

    def __init__(self) -> None:
        # Place of each identity, and frames for which the usual one has been free.
        self._chosen: dict[int, tuple[int, int]] = {}

    def reset(self) -> None:
        """Forget the places of the frame before."""
        self._chosen.clear()

    def place(
        self,
        identities: Sequence[int],
        boxes: np.ndarray,
        sizes: np.ndarray,
        shape: tuple[int, ...],
        line: int,
    ) -> np.ndarray:
        """Place the labels of a frame.

        Args:
            identities: N of them.
            boxes: (N, 4), left, top, right, bottom in pixels.
            sizes: (N, 2), widths and heights of the labels in pixels.
            shape: Of the image: height and width, in pixels.
            line: Width of box lines in pixels.

        Returns:
            int (N, 2), left and top of the labels, inside the image as far as they
            fit into it.
        """
        corners = _candidates(boxes, sizes, line)
        limits = np.maximum(np.array([shape[1], shape[0]]) - sizes, 0)
        corners = np.clip(corners, 0, limits[:, None])
        areas = np.maximum(sizes.prod(axis=1), 1).astype(float)
        costs = _covered(boxes, corners, sizes, shape)
        free = (costs[:, 0] == 0).astype(int)
        costs += areas[:, None] * _STEP * np.arange(_PLACES)
        for i, identity in enumerate(identities):
            if identity in self._chosen:
                before, frames = self._chosen[identity]
                free[i] *= frames + 1
                if free[i] < _RETURN:
                    costs[i] += areas[i] * _MOVED
                    costs[i, before] -= areas[i] * _MOVED
        ends = corners + sizes[:, None]
        chosen = np.zeros(len(boxes), dtype=int)
        taken = np.zeros((len(boxes), 4), dtype=int)
        for count, i in enumerate(np.argsort(-boxes[:, 3], kind='stable')):
            width, height = (
                np.minimum(ends[i, :, axis, None], taken[:count, 2 + axis])
                - np.maximum(corners[i, :, axis, None], taken[:count, axis])
                for axis in (0, 1)
            )
            overlap = (width.clip(0) * height.clip(0)).sum(axis=1)
            chosen[i] = np.argmin(costs[i] + _LABEL * overlap)
            taken[count] = *corners[i, chosen[i]], *ends[i, chosen[i]]
        memory = zip(chosen.tolist(), free.tolist(), strict=True)
        self._chosen = dict(zip(identities, memory, strict=True))
        return corners[np.arange(len(boxes)), chosen]


def _candidates(boxes: np.ndarray, sizes: np.ndarray, line: int) -> np.ndarray:
    """List left and top of the places of each label, the best first, int (N, 12, 2)."""
    half = line / 2
    left, top = boxes[:, 0] - half, boxes[:, 1] - half
    right, bottom = boxes[:, 2] + half, boxes[:, 3] + half
    width, height = sizes.T
    center = (left + right - width) / 2
    places = (
        # Above and below the box,
        *((left, top - height), (right - width, top - height), (center, top - height)),
        *((left, bottom), (right - width, bottom), (center, bottom)),
        # next to it,
        *((right, top), (left - width, top)),
        *((right, bottom - height), (left - width, bottom - height)),
        # and in it.
        *((left + line, bottom - height - line), (left + line, top + line)),
    )
    return np.rint(np.array(places)).astype(int).transpose(2, 0, 1)


def _covered(
    boxes: np.ndarray, corners: np.ndarray, sizes: np.ndarray, shape: tuple[int, ...]
) -> np.ndarray:
    """Weigh the objects that labels cover at their places, float (N, places).

    How many boxes cover each cell of a grid is summed up once; the sum over a label is
    then made of four numbers.
    """
    cell = max(1, round(min(shape[:2]) / _CELLS))
    grid = np.array([shape[1], shape[0]]) // cell + 1
    heads = boxes.copy()
    heads[:, 3] = boxes[:, 1] + _HEAD * (boxes[:, 3] - boxes[:, 1])
    labels = np.concatenate([corners, corners + sizes[:, None]], axis=2)
    labels = _to_cells(labels, cell, grid)
    cost = np.zeros(corners.shape[:2])
    extra = (boxes, _OTHER, _OWN), (heads, _OTHER_HEAD - _OTHER, _OWN_HEAD - _OWN)
    for places, others, own in extra:
        places = _to_cells(places, cell, grid)
        total = _count(places, grid).cumsum(axis=0).cumsum(axis=1)
        total = np.pad(total, ((1, 0), (1, 0)))
        left, top, right, bottom = np.moveaxis(labels, 2, 0)
        inside = total[bottom, right] - total[top, right]
        inside += total[top, left] - total[bottom, left]
        low = np.maximum(labels[..., :2], places[:, None, :2])
        high = np.minimum(labels[..., 2:], places[:, None, 2:])
        itself = (high - low).clip(0).prod(axis=2)
        cost += others * (inside - itself) + own * itself
    return cost * cell**2


def _to_cells(boxes: np.ndarray, cell: int, grid: np.ndarray) -> np.ndarray:
    return np.clip(np.rint(boxes / cell), 0, [*grid, *grid]).astype(int)


def _count(places: np.ndarray, grid: np.ndarray) -> np.ndarray:
    """Count how many boxes cover each cell, int (rows, columns)."""
    steps = np.zeros((grid[1] + 1, grid[0] + 1), dtype=int)
    left, top, right, bottom = places.T
    for y, x, step in ((top, left, 1), (bottom, right, 1)):
        np.add.at(steps, (y, x), step)
    for y, x in ((top, right), (bottom, left)):
        np.add.at(steps, (y, x), -1)
    return steps.cumsum(axis=0).cumsum(axis=1)[:-1, :-1]
