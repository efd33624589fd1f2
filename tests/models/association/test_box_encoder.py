# Copyright (c) mmfdta authors.
"""What association sees of boxes."""

import numpy as np
import pytest
import torch

from mmfdta.models.association import BoxEncoder, box_rows
from mmfdta.models.association.box_encoder import causal_slopes


def random_rows(*shape: int, looks: int = 0, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(*shape, 5 + looks, generator=generator) * 0.8 + 0.1


def random_masks(*shape: int) -> torch.Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(1)) < 0.3


def test_rows_are_places_sizes_and_scores():
    boxes = torch.tensor([[10.0, 20.0, 30.0, 60.0], [0.0, 0.0, 200.0, 100.0]])
    looks = torch.arange(6.0).view(2, 3)
    rows = box_rows(boxes, torch.tensor([0.25, 1.0]), (100, 200), looks)
    expected = [[0.1, 0.4, 0.1, 0.4, 0.25, 0, 1, 2], [0.5, 0.5, 1, 1, 1, 3, 4, 5]]
    torch.testing.assert_close(rows, torch.tensor(expected))
    assert box_rows(boxes[:0], torch.zeros(0), (100, 200)).shape == (0, 5)


@pytest.mark.parametrize('scale', [2.0, 9.0])
def test_slopes_are_those_of_weighted_least_squares(scale: float):
    states = random_rows(9, 6)[..., :4].double()
    masks = random_masks(9, 6)
    assert masks[4:].any(0).sum() > 3  # some are missing after they were seen
    slopes = causal_slopes(states, masks, scale)
    for t, n in np.ndindex(9, 6):
        seen = [s for s in range(t + 1) if not masks[s, n]]
        if masks[t, n] or len(seen) < 2:
            assert (slopes[t, n] == 0).all()
            continue
        weights = np.exp((np.array(seen) - t) / scale)
        fit = np.polyfit(seen, states[seen, n].numpy(), 1, w=np.sqrt(weights))[0]
        # The ridge pulls towards 0, and the less the more the frames spread.
        spread = np.cov(seen, aweights=weights, ddof=0)
        expected = fit * spread / (spread + 0.02)
        np.testing.assert_allclose(slopes[t, n], expected, rtol=1e-9)


def test_observations_see_no_later_frame_and_no_missing_one():
    torch.manual_seed(0)
    encoder = BoxEncoder(embed_dims=16, looks_dims=3)
    rows, masks = random_rows(6, 4, looks=3), random_masks(6, 4)
    codes = encoder.encode_trajectories(rows, masks)
    other = rows.clone()
    other[4:] = random_rows(2, 4, looks=3, seed=5)
    other[masks] = 0.0
    found = encoder.encode_trajectories(other, masks)
    seen = ~masks[:4]
    torch.testing.assert_close(found[:4][seen], codes[:4][seen])
    assert not torch.allclose(found[5][~masks[5]], codes[5][~masks[5]])
    batched = encoder.encode_trajectories(rows[None, None], masks[None, None])
    torch.testing.assert_close(batched[0, 0], codes)


def test_a_moving_box_is_seen_where_it_will_be():
    """With enough frames, the code of a horizon is that of the box then."""
    encoder = BoxEncoder(embed_dims=8, horizons=(3,)).double()
    times = torch.arange(40.0, dtype=torch.float64)
    rows = torch.full((40, 1, 5), 0.1, dtype=torch.float64)
    rows[:, 0, 0] = 0.1 + 0.01 * times
    masks = torch.zeros(40, 1, dtype=torch.bool)
    seen: dict[str, torch.Tensor] = {}
    encoder.observation.register_forward_pre_hook(
        lambda _, inputs: seen.update(history=inputs[0])
    )
    encoder.detection.register_forward_pre_hook(
        lambda _, inputs: seen.update(now=inputs[0])
    )
    encoder.encode_trajectories(rows, masks)
    encoder.encode_detections(rows)
    waves = 8 * encoder.num_wavelengths
    ahead = seen['history'][30, 0, waves + 5 : 2 * waves + 5]
    # x is exact to a fifth of a frame's way; wavelengths from 1/16 on can tell.
    x = slice(0, 5), slice(8, 13)
    for part in x:
        torch.testing.assert_close(
            ahead[part], seen['now'][33, 0, :waves][part], atol=0.05, rtol=0
        )


def test_flat_boxes_and_short_histories_are_finite():
    encoder = BoxEncoder(embed_dims=8)
    rows = torch.zeros(1, 2, 5)
    masks = torch.tensor([[False, True]])
    assert encoder.encode_trajectories(rows, masks).isfinite().all()
    assert encoder.encode_detections(rows[:, :0]).shape == (1, 0, 8)
    code = encoder.encode_trajectories(rows.requires_grad_(), masks)[~masks]
    code.sum().backward()
    assert rows.grad.isfinite().all()


@pytest.mark.parametrize(
    'arguments', [dict(num_wavelengths=0), dict(horizons=(1, 0))], ids=str
)
def test_impossible_encodings_are_refused(arguments: dict):
    with pytest.raises(ValueError, match=next(iter(arguments))):
        BoxEncoder(**arguments)
