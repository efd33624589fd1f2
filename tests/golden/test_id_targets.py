# Copyright (c) mmfdta authors.
"""ID targets without augmentation equal the released ones.

The distributions of the random parts are compared in `tests/datasets`.
"""

import numpy as np
import pytest
from cases import run_case
from golden_files import load_golden

FIELDS = ('id_masks', 'ann_idxs', 'times')


@pytest.mark.parametrize('side', ['trajectory', 'unknown'])
def test_deterministic_parts(side: str):
    golden = load_golden('id_targets')
    found = run_case('id_targets', golden.inputs, golden.settings, golden.seed)
    for name in ['column_object_ids', *(f'{side}_{field}' for field in FIELDS)]:
        np.testing.assert_array_equal(found[name], golden.outputs[name], err_msg=name)
    newborn = golden.settings['vocab']
    for ours, theirs in zip(
        found[f'{side}_id_labels'], golden.outputs[f'{side}_id_labels'], strict=True
    ):
        # The words are drawn; where newborn stands is not, nor that a word stays.
        np.testing.assert_array_equal(ours == newborn, theirs == newborn)
        for column in ours.T:
            assert len(set(column[column != newborn].tolist())) <= 1


def test_more_identities_than_words():
    """The identities chosen from the same seed are those of the released code."""
    ids = np.arange(70).reshape(1, 70).repeat(3, axis=0)
    settings = dict(groups=2, vocab=50, num_training_ids=50, seed=7)
    found = run_case('id_targets', {'ids_per_frame': ids}, settings, 7)
    assert found['trajectory_id_masks'].shape == (2, 3, 50)
    chosen = found['column_object_ids']
    assert len(set(chosen.tolist())) == 50
    np.testing.assert_array_equal(found['unknown_ann_idxs'][0, 0], chosen)
