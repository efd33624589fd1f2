# Copyright (c) mmfdta authors.
"""Crowds of any size that walk about, as detections and as sequences to score."""

from pathlib import Path

import numpy as np
import torch
from mmdet.structures import DetDataSample
from mmengine.structures import InstanceData

from mmfdta.structures.mot_text import write_tracks
from mmfdta.structures.tracks import Sequence, Tracks

WIDTH, HEIGHT = 1920, 1080
CHANNELS = 256


class Crowd:
    """Objects on a picture of 1920x1080; the more there are, the smaller each is.

    They cover the same share of the picture and overlap each other as often, however
    many they are. An object leaves after some time, and another takes its place. The
    detector misses 7 % of them, and errs by some pixels.

    Args:
        objects: n, objects per frame.
        life: Frames after which an object leaves.
        seed: Other seeds give other crowds.
    """

    def __init__(self, objects: int, life: int = 200, seed: int = 0) -> None:
        rng = np.random.default_rng(seed)
        side = np.sqrt(WIDTH * HEIGHT / objects)
        self.objects = objects
        self.life = life
        self._begun = rng.integers(0, life, objects)
        self._size = rng.uniform([0.3, 0.5], [0.5, 1.0], (objects, 2)) * side
        self._phase = rng.uniform(0, 2 * np.pi, (objects, 2))
        # Some 3 % of a box's side per frame.
        self._speed = rng.uniform(0.5, 1, (objects, 2)) * 0.05 * side / WIDTH
        self._error = 0.01 * side
        self._rng = rng
        looks = rng.normal(size=(objects, CHANNELS)).astype(np.float32)
        self._looks = looks / np.linalg.norm(looks, axis=1, keepdims=True)

    def truth(self, frames: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return identities (F, n) and boxes (F, n, 4) xywh of frames (F,)."""
        time = frames[:, None, None]
        centre = 0.5 + 0.45 * np.sin(self._phase + self._speed * time)
        left_top = centre * [WIDTH, HEIGHT] - self._size / 2
        size = np.broadcast_to(self._size, left_top.shape)
        generation = (frames[:, None] + self._begun) // self.life
        identities = np.arange(self.objects) + self.objects * generation
        return identities, np.concatenate([left_top, size], axis=2)

    def detect(self, frame: int) -> DetDataSample:
        """Return what a detector finds in a frame, best score first, on the CPU."""
        identities, boxes = (x[0] for x in self.truth(np.array([frame])))
        found = self._rng.random(self.objects) >= 0.07
        number = int(found.sum())
        corners = boxes.copy()
        corners[:, 2:] += boxes[:, :2]
        corners = corners[found] + self._rng.normal(0, self._error, (number, 4))
        looks = self._looks[identities[found] % self.objects]
        # Those who come after one another in a place do not look alike.
        turns = identities[found] // self.objects
        columns = (np.arange(CHANNELS) + turns[:, None]) % CHANNELS
        looks = np.take_along_axis(looks, columns, axis=1)
        looks = looks + self._rng.normal(0, 0.02, looks.shape)
        scores = np.sort(self._rng.uniform(0.3, 1, number))[::-1]
        size = HEIGHT, WIDTH
        meta = dict(frame_id=frame, img_shape=size, ori_shape=size)
        meta |= dict(scale_factor=(1.0, 1.0), batch_input_shape=size)
        return DetDataSample(
            metainfo=meta,
            pred_instances=InstanceData(
                bboxes=torch.from_numpy(corners.astype(np.float32)),
                scores=torch.from_numpy(scores.astype(np.float32)),
                labels=torch.zeros(number, dtype=torch.int64),
                embeddings=torch.from_numpy(looks.astype(np.float32)),
            ),
        )

    def sequence(self, name: str, frames: int) -> Sequence:
        """Return the truth and what a fair tracker makes of it.

        The tracker misses what the detector misses, and switches to a new identity
        once in 250 frames of an object.
        """
        numbers = np.arange(frames)
        identities, boxes = self.truth(numbers)
        frame = np.broadcast_to(numbers[:, None] + 1, identities.shape)
        gt = Tracks.create(frame.ravel(), identities.ravel(), boxes.reshape(-1, 4))
        moved = boxes + self._rng.normal(0, self._error, boxes.shape)
        switched = np.cumsum(self._rng.random(identities.shape) < 0.004, axis=0)
        _, own = np.unique(
            identities.ravel() + (identities.max() + 1) * switched.ravel(),
            return_inverse=True,
        )
        found = (self._rng.random(identities.shape) >= 0.07).ravel()
        pred = Tracks.create(
            frame.ravel()[found], own.ravel()[found], moved.reshape(-1, 4)[found]
        )
        return Sequence(name, frames, gt, pred)


def write_sequences(root: Path, sequences: int, frames: int, objects: int) -> None:
    """Write ground truth and results of sequences, in `gt` and `results`."""
    for number in range(sequences):
        one = Crowd(objects, seed=number).sequence(f'{number:04d}', frames)
        one.gt.label[:] = 0
        folder = root / 'gt' / one.name
        write_tracks(folder / 'gt' / 'gt.txt', one.gt, decimals=2, numbers=[1])
        (folder / 'seqinfo.ini').write_text(f'[Sequence]\nseqLength={frames}\n')
        write_tracks(root / 'results' / f'{one.name}.txt', one.pred, decimals=2)
