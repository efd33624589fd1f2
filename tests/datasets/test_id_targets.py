# Copyright (c) mmfdta authors.
"""ID targets against the golden numbers and against their definition."""

import json
from pathlib import Path

import numpy as np
import pytest

from mmfdta.datasets.transforms.id_targets import make_id_targets

GOLDEN = Path(__file__).parents[1] / 'golden' / 'data' / 'id_targets.npz'
KEYS = ('trajectory_id_masks', 'trajectory_ann_idxs', 'unknown_id_masks')


@pytest.fixture(scope='module')
def golden():
    with np.load(GOLDEN) as file:
        return dict(file)


def _golden_ids(golden):
    return [row[row >= 0] for row in golden['in_ids_per_frame']]


def test_without_augmentation_equals_golden(golden):
    targets = make_id_targets(
        _golden_ids(golden), 2, 50, 50, 0.0, 0.0, np.random.default_rng(0)
    )
    order = np.argsort(golden['out_column_object_ids'])
    np.testing.assert_array_equal(
        targets.column_ids, golden['out_column_object_ids'][order]
    )
    for key in (*KEYS, 'unknown_ann_idxs'):
        np.testing.assert_array_equal(
            getattr(targets, key), golden[f'out_{key}'][:, :, order], err_msg=key
        )
    newborn = golden['out_unknown_id_labels'][:, :, order] == 50
    np.testing.assert_array_equal(targets.unknown_id_labels == 50, newborn)
    np.testing.assert_array_equal(
        targets.unknown_id_labels[~newborn], targets.trajectory_id_labels[~newborn]
    )


def _statistics(occlusion_prob, switch_prob, settings):
    num_ids, groups = settings['N'], settings['G']
    ids = [np.arange(num_ids)] * settings['T']
    rng = np.random.default_rng(1)
    draws = [
        make_id_targets(ids, groups, 50, 50, occlusion_prob, switch_prob, rng)
        for _ in range(settings['draws'])
    ]
    trajectory, unknown, moved, newborn = (
        np.stack(values)
        for values in zip(
            *(
                (
                    d.trajectory_id_masks,
                    d.unknown_id_masks,
                    d.trajectory_ann_idxs != d.unknown_ann_idxs,
                    d.unknown_id_labels == 50,
                )
                for d in draws
            ),
            strict=True,
        )
    )
    hist = np.bincount(moved.sum(-1).ravel(), minlength=num_ids + 1)
    return {
        'traj_masked_per_t': trajectory.mean((0, 1, 3)),
        'unknown_masked_per_t': unknown.mean((0, 1, 3)),
        'switched_slot_fraction': moved.mean(),
        'moved_count_hist': hist / hist.sum(),
        'newborn_label_fraction_per_t': newborn.mean((0, 1, 3)),
        'draws_with_equal_masks': (trajectory == unknown).all((1, 2, 3)).mean(),
        'tracks_with_occlusion': unknown.any(2).mean(),
        'mean_occlusion_length': unknown.sum(2).mean(),
    }


@pytest.mark.parametrize(
    ('name', 'occlusion_prob', 'switch_prob'),
    [('occ', 0.5, 0.0), ('switch', 0.0, 0.5), ('both', 0.5, 0.5)],
)
def test_statistics_agree_with_golden(golden, name, occlusion_prob, switch_prob):
    settings = json.loads(str(golden['meta']))['stats']
    found = _statistics(occlusion_prob, switch_prob, settings)
    for key, value in found.items():
        # A mean length in frames adds up the error of T masks.
        tolerance = 0.01 * (settings['T'] if key == 'mean_occlusion_length' else 1)
        np.testing.assert_allclose(
            value, golden[f'out_stat_{name}_{key}'], atol=tolerance, err_msg=key
        )


def _random_ids(rng, num_frames, num_ids):
    return [
        rng.permutation(num_ids)[: rng.integers(0, num_ids + 1)]
        for _ in range(num_frames)
    ]


@pytest.mark.parametrize('seed', range(5))
def test_definition_by_brute_force(seed):
    rng = np.random.default_rng(seed)
    ids = _random_ids(rng, 7, 9)
    targets = make_id_targets(ids, 3, 20, 20, 0.5, 0.5, rng)
    num_groups, num_frames, num_columns = targets.unknown_id_masks.shape
    assert num_columns == len({i for row in ids for i in row.tolist()})
    for g in range(num_groups):
        words = targets.trajectory_id_labels[g, 0]
        assert len(set(words.tolist())) == num_columns and (words < 20).all()
        for t in range(num_frames):
            assert (targets.trajectory_id_labels[g, t] == words).all()
            assert sorted(targets.trajectory_ann_idxs[g, t]) == sorted(
                targets.unknown_ann_idxs[g, t]
            )
            for n, identity in enumerate(targets.column_ids):
                index = targets.unknown_ann_idxs[g, t, n]
                if index < 0:
                    assert identity not in ids[t]
                    assert targets.unknown_id_masks[g, t, n]
                else:
                    assert ids[t][index] == identity
                seen = (~targets.trajectory_id_masks[g, :t, n]).any()
                expected = words[n] if seen else 20
                assert targets.unknown_id_labels[g, t, n] == expected


def test_words_are_uniform_and_differ_between_groups():
    rng = np.random.default_rng(0)
    targets = make_id_targets([np.arange(3)], 4000, 10, 10, 0, 0, rng)
    words = targets.trajectory_id_labels[:, 0]
    counts = np.stack([np.bincount(column, minlength=10) for column in words.T])
    # Binomial(4000, 0.1): four standard deviations are 76.
    assert np.abs(counts - 400).max() < 76


def test_too_many_identities_take_a_random_subset_shared_by_groups():
    rng = np.random.default_rng(0)
    chosen = np.zeros(80)
    for _ in range(300):
        targets = make_id_targets([np.arange(80)] * 2, 2, 50, 30, 0, 0, rng)
        assert targets.unknown_ann_idxs.shape == (2, 2, 30)
        np.testing.assert_array_equal(
            targets.unknown_ann_idxs[0], targets.unknown_ann_idxs[1]
        )
        chosen[targets.column_ids] += 1
    # Binomial(300, 30 / 80): four standard deviations are 34.
    assert np.abs(chosen - 300 * 30 / 80).max() < 34


def test_last_frame_is_never_occluded_and_one_frame_works():
    rng = np.random.default_rng(0)
    targets = make_id_targets([np.arange(5)] * 6, 200, 50, 50, 1.0, 0.0, rng)
    assert not targets.unknown_id_masks[:, -1].any()
    assert targets.unknown_id_masks[:, :-1].any()
    single = make_id_targets([np.arange(5)], 2, 50, 50, 1.0, 1.0, rng)
    assert (single.unknown_id_labels == 50).all()


def test_no_objects_at_all():
    empty = [np.zeros(0, dtype=np.int64)] * 4
    targets = make_id_targets(empty, 2, 50, 50, 0.5, 0.5, np.random.default_rng(0))
    assert targets.unknown_id_labels.shape == (2, 4, 0)


def test_class_aware_switches_stay_within_a_class():
    rng = np.random.default_rng(0)
    ids = [np.array([1, 2, 3, 1, 2])] * 6
    labels = [np.array([0, 0, 0, 1, 1])] * 6
    targets = make_id_targets(ids, 100, 50, 50, 0.0, 0.8, rng, labels)
    assert targets.column_ids.tolist() == [1, 2, 3, 1, 2]
    moved = targets.trajectory_ann_idxs != targets.unknown_ann_idxs
    assert moved[..., :3].any() and moved[..., 3:].any()
    assert (targets.trajectory_ann_idxs[..., :3] < 3).all()
    assert (targets.trajectory_ann_idxs[..., 3:] >= 3).all()
