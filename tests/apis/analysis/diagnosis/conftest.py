# Copyright (c) mmfdta authors.
"""The trained small FDTA of the package, and a tracker that follows a script."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from mmdet.structures import DetDataSample
from mmengine.structures import InstanceData
from PIL import Image

from mmfdta.apis.config import find_config, read_config
from mmfdta.apis.detection_store import SequenceDetections
from mmfdta.apis.evaluation_data import EvaluationData
from mmfdta.apis.model_loading import load_tracker
from mmfdta.apis.sequence_loop import SequenceLoop
from mmfdta.datasets import MOTSequenceDataset
from mmfdta.models.mot.tracking_by_detection import OnlineTracker
from mmfdta.models.trackers import FDTATracker

WORDS = 6
FRAMES = 40
OBJECTS = 5
LOWEST = 0.1


@pytest.fixture(scope='session')
def trained(tmp_path_factory):
    """The model with the weights of the package, and two sequences of 16 frames."""
    folder = tmp_path_factory.mktemp('trained')
    config = read_config(find_config('fdta_mini'))
    options = dict(frames=16, train=0, val=2, test=0, min_dancers=4)
    config.val_dataloader.dataset.update(data_root=str(folder), options=options)
    model = load_tracker(config, 'minidance', 'cpu', False)
    data = EvaluationData.open(config, 'val')
    loop = SequenceLoop(model, data.dataset, batch_size=8)
    return SimpleNamespace(
        config=config, model=model, data=data, loop=loop, found=loop.detect_all()
    )


class ScriptedTracker(OnlineTracker):
    """FDTA's tracker on ID scores that are drawn and come with the detections."""

    def __init__(self, **options) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(()))
        settings = dict(miss_tolerance=5, det_thr=0.3, newborn_thr=0.5, id_thr=0.25)
        settings |= dict(num_id_vocabulary=WORDS, embed_dims=WORDS + 1)
        self.tracker = FDTATracker(**{**settings, **options})

    def loss(self, inputs, data_samples, **kwargs):
        raise NotImplementedError

    def detect(self, imgs, frames):
        raise NotImplementedError

    def associate(self, frame: DetDataSample, tracker=None) -> DetDataSample:
        tracker = self.tracker if tracker is None else tracker
        frame.pred_track_instances = tracker.track(frame, lambda history, rows: rows)
        return frame


def draw_detections(data, seed: int, classes: int) -> list[SequenceDetections]:
    """Detections of all sequences; what they know of words stands as embeddings.

    Boxes lie on the objects of the ground truth, twice on some, beside others, on
    nothing. The words mostly know their object.
    """
    rng = np.random.default_rng(seed)
    found = []
    for truth in data.truths:
        frames = []
        for frame in range(1, FRAMES + 1):
            here = truth.select(truth.frame == frame)
            picked = np.flatnonzero(rng.random(len(here)) < 0.85)
            picked = np.r_[picked, picked[rng.random(len(picked)) < 0.3]].astype(int)
            boxes = here.xyxy[picked]
            boxes += rng.normal(size=boxes.shape) * 1.2
            boxes = np.r_[boxes, [[0, 0, 9, 9], [20, 30, 28, 50]]]
            labels = np.r_[here.label[picked].clip(0), 0, 0]
            swapped = rng.random(len(boxes)) < 0.1
            labels = np.where(swapped, classes - 1 - labels, labels)
            table = rng.normal(size=(len(boxes), WORDS + 1))
            identity = np.r_[here.identity[picked], 0, 0]
            table[np.arange(len(boxes)), identity % WORDS] += 2.5
            table = np.exp(table) / np.exp(table).sum(1, keepdims=True)
            scores = rng.random(len(boxes)) ** 0.5
            frames.append(
                InstanceData(
                    bboxes=torch.from_numpy(boxes).float(),
                    scores=torch.from_numpy(scores).float(),
                    labels=torch.from_numpy(labels).long(),
                    embeddings=torch.from_numpy(table).float(),
                )
            )
        seconds = np.zeros((FRAMES, 3))
        known = SequenceDetections(frames, [{}] * FRAMES, seconds, 0.0, 1)
        found.append(known.above(LOWEST))
    return found


def write_text(folder, seed: int) -> None:
    """Objects of two classes that drift, meet, and are away at times."""
    rng = np.random.default_rng(seed)
    for name in ('a', 'b'):
        for part in ('img1', 'gt'):
            (folder / 'val' / name / part).mkdir(parents=True)
        for frame in range(1, FRAMES + 1):
            Image.new('L', (8, 8)).save(folder / f'val/{name}/img1/{frame:06d}.jpg')
        rows = []
        for identity in range(1, OBJECTS + 1):
            path = rng.normal(size=(FRAMES, 2)).cumsum(0) * 2 + rng.integers(20, 40, 2)
            away = rng.random(FRAMES // 4).repeat(4) < 0.25
            rows += [
                f'{t + 1},{identity},{x:.2f},{y:.2f},14,20,1,{1 + identity % 2},1\n'
                for t, (x, y) in enumerate(path)
                if not away[t]
            ]
        (folder / 'val' / name / 'gt' / 'gt.txt').write_text(''.join(rows))


@pytest.fixture(scope='session')
def scripted(tmp_path_factory):
    """A function: loop of the scripted tracker, data and detections of a script."""
    folder = tmp_path_factory.mktemp('scripted')
    write_text(folder, 0)
    plain = dict(data_root=str(folder), split='val', test_mode=True, pipeline=[])
    two = dict(metainfo=dict(classes=('x', 'y')), category_map={1: 0, 2: 1})

    def make(seed: int, classes: int = 1, **options):
        dataset = MOTSequenceDataset(**plain, **(two if classes == 2 else {}))
        data = EvaluationData(dataset)
        loop = SequenceLoop(ScriptedTracker(**options), dataset, lowest_score=LOWEST)
        return loop, data, draw_detections(data, seed, classes)

    return make


@pytest.fixture(
    params=[
        (0, 1, {}),
        (1, 1, dict(protocol='hungarian')),
        (2, 2, dict(protocol='id-max', class_aware=True)),
        (3, 2, dict(overflow='keep')),
    ],
    ids=['object-max', 'hungarian', 'id-max', 'keep'],
)
def script(scripted, request):
    """Loop, data and detections of some scripts, and their number of classes."""
    seed, classes, options = request.param
    return *scripted(seed, classes, **options), classes
