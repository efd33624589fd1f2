# Copyright (c) mmfdta authors.
"""FDTATracker on the recorded scenarios, with the recorded ID logits."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from mmdet.registry import MODELS
from mmengine.structures import InstanceData
from torch import Tensor
from tracker_inputs import detected

from mmfdta.models.trackers import (
    PROTOCOLS,
    FDTATracker,
    IdentityAssignment,
    TrajectoryHistory,
)

DATA = Path(__file__).parents[2] / 'golden/data/assignment.npz'


@pytest.fixture(scope='module')
def golden() -> dict[str, np.ndarray]:
    with np.load(DATA) as file:
        return dict(file)


class Replay:
    """A recorded scenario, tracked by us with the recorded ID logits."""

    def __init__(
        self, golden: dict, scenario: str, protocol: str, on_arrays: bool = False
    ) -> None:
        self.inputs = {
            name: torch.as_tensor(golden[f'in_{scenario}_{name}'])
            for name in ('pred_logits', 'pred_boxes', 'outputs')
        }
        prefix = f'out_{scenario}_{protocol.replace("-", "_")}_'
        self.expected = {
            key.removeprefix(prefix): value
            for key, value in golden.items()
            if key.startswith(prefix)
        }
        meta = json.loads(str(golden['meta']))
        names = dict(
            det_thresh='det_thr',
            newborn_thresh='newborn_thr',
            id_thresh='id_thr',
            area_thresh='area_thr',
        )
        options = {names.get(k, k): v for k, v in meta['tracker'].items()}
        self.size = tuple(meta['hw'])
        options |= dict(protocol=protocol, embed_dims=self.inputs['outputs'].shape[-1])
        self.tracker = (
            IdentityAssignment(**options)
            if on_arrays
            else MODELS.build(dict(type='FDTATracker', **options))
        )
        self.frames: list[int] = []
        self.tracks: list[InstanceData] = []
        self.states: list[list[int]] = []

    def run(self, frames: int) -> 'Replay':
        skipped = self.expected['state_T_N_nextid_nout'][:, 3] < 0
        for t in range(frames):
            # The released id-max fails on a frame without detections and leaves its
            # state as it was.
            rows = -1
            if not skipped[t]:
                tracks = self.frame(t)
                rows = len(tracks)
                self.frames += [t] * rows
                self.tracks.append(tracks)
            self.states.append(
                [
                    len(self.tracker.missing),
                    int(self.tracker.live.sum()),
                    self.tracker.vocabulary.next_identity,
                    rows,
                ]
            )
        return self

    def frame(self, t: int) -> InstanceData:
        logits = torch.as_tensor(self.expected['id_logits'][t])
        rows = int((~logits[:, 0].isnan()).sum())

        def scorer(history: TrajectoryHistory, embeddings: Tensor) -> Tensor:
            assert len(embeddings) == rows
            return logits[:rows].softmax(-1)

        class_logits = self.inputs['pred_logits'][t]
        scores, labels = class_logits.sigmoid().max(-1)
        boxes, embeddings = self.inputs['pred_boxes'][t], self.inputs['outputs'][t]
        sample = detected(boxes, scores, labels, self.size, embeddings)
        if isinstance(self.tracker, FDTATracker):
            return self.tracker.track(sample, score_identities=scorer)
        found = sample.pred_instances
        names = 'bboxes', 'scores', 'labels', 'embeddings'
        rows, identities = self.tracker.associate(
            *(found.get(name).numpy() for name in names),
            lambda history, embeddings: scorer(history, embeddings).numpy(),
            found.areas.numpy(),
        )
        tracks = found[torch.from_numpy(rows)]
        tracks.instances_id = torch.from_numpy(identities)
        return tracks

    def check_rows(self) -> None:
        assert np.array_equal(self.frames, self.expected['frame'])
        ids = torch.cat([t.instances_id for t in self.tracks])
        assert np.array_equal(ids, self.expected['id'])
        xyxy = torch.cat([t.bboxes for t in self.tracks])
        xywh = torch.cat([xyxy[:, :2], xyxy[:, 2:] - xyxy[:, :2]], dim=1)
        np.testing.assert_allclose(xywh, self.expected['xywh'], rtol=0, atol=1e-2)
        scores = torch.cat([t.scores for t in self.tracks])
        np.testing.assert_allclose(scores, self.expected['score'], rtol=0, atol=1e-6)
        assert np.array_equal(self.states, self.expected['state_T_N_nextid_nout'])

    def check_final_state(self) -> None:
        history, vocabulary = self.tracker.history(), self.tracker.vocabulary
        assert np.array_equal(vocabulary.queue, self.expected['final_id_queue'])
        order = np.argsort(self.expected['final_traj_labels'])
        labels = self.expected['final_traj_labels'][order]
        assert np.array_equal(history.id_labels, labels)
        masks = self.expected['final_traj_masks'][:, order]
        assert np.array_equal(history.masks, masks)
        for label, identity in self.expected['final_label_to_id']:
            assert vocabulary.identities[label] == identity


@pytest.mark.parametrize('protocol', PROTOCOLS)
@pytest.mark.parametrize('on_arrays', [False, True])
@pytest.mark.parametrize(
    ('scenario', 'frames'), [('scripted', 60), ('overflow_allnew', 2), ('real', 60)]
)
@pytest.mark.filterwarnings('ignore:frame .* newborn objects')
def test_golden(
    golden: dict, scenario: str, frames: int, protocol: str, on_arrays: bool
):
    replay = Replay(golden, scenario, protocol, on_arrays).run(frames)
    replay.check_rows()
    replay.check_final_state()


@pytest.mark.parametrize('protocol', PROTOCOLS)
def test_golden_overflow_that_fails_in_the_released_code(golden: dict, protocol: str):
    """48 known, 7 newborn, 2 free words: the first two newborns are kept."""
    replay = Replay(golden, 'overflow_mixed', protocol)
    with pytest.warns(UserWarning, match='10 newborn objects more than ID words'):
        replay.run(1)
    replay.check_rows()
    assert replay.tracker.num_dropped == 10
    before = {int(i) for i in replay.tracks[0].instances_id}
    tracks = replay.frame(1)
    ids = tracks.instances_id.tolist()
    assert len(ids) == len(set(ids)) == 50
    assert sorted(set(ids) - before) == [50, 51]
    assert replay.tracker.num_dropped == 15
