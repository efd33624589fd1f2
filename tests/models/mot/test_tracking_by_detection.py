# Copyright (c) mmfdta authors.
"""One contract of trackers: equal to MMDetection's models, one state per video."""

import copy
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from frozen.make_frozen import FOLDER
from frozen.make_frozen import frames as frozen_frames
from mmdet.registry import MODELS
from mmdet.structures import DetDataSample, TrackDataSample
from mmengine.config import Config
from mmengine.registry import DefaultScope
from mmengine.structures import InstanceData
from small_fdta import build
from torch import Tensor, nn

from mmfdta.models import CropEmbeddings, TrackingByDetection
from mmfdta.models.mot.tracking_by_detection import best_first
from mmfdta.models.trackers import GalleryTracker, new_tracker

TRACKERS = Path(__file__).parents[3] / 'configs/_base_/trackers'
SIZE = (64, 96)
OF_MMDETECTION = dict(bytetrack='ByteTrack', ocsort='OCSORT', sort='DeepSORT')


@MODELS.register_module()
class PaintedDetector(nn.Module):
    """Reads boxes off the image: a row per object of x1, y1, x2, y2, score, looks."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))

    def predict(self, imgs: Tensor, frames: list, rescale: bool = True) -> list:
        for image, frame in zip(imgs, frames, strict=True):
            rows = image[0][image[0, :, 4].argsort(descending=True, stable=True)]
            rows = rows[rows[:, 4] > 0]
            frame.pred_instances = InstanceData(
                bboxes=rows[:, :4],
                scores=rows[:, 4],
                labels=torch.zeros(len(rows), dtype=torch.int64),
                embeddings=rows[:, 5:9],
            )
        return frames


def video(seed: int, num_frames: int = 25) -> list[Tensor]:
    """Objects that walk, cross, and are missed now and then: (1, 1, 3, 8, 9)."""
    rng = np.random.default_rng(seed)
    start = rng.uniform(0, 60, (8, 2))
    speed = rng.normal(0, 1.5, (8, 2))
    looks = rng.normal(size=(8, 4))
    frames = []
    for t in range(num_frames):
        corner = start + speed * t + rng.normal(0, 0.3, (8, 2))
        score = rng.choice([0.0, 0.2, 0.55, 0.75, 0.9, 0.9, 0.8], (8, 1))
        rows = np.concatenate([corner, corner + [14, 25], score, looks], axis=1)
        image = torch.tensor(rows, dtype=torch.float32).expand(1, 1, 3, 8, 9)
        frames.append(image.contiguous())
    return frames


def clip(frame_id: int) -> list[TrackDataSample]:
    sample = TrackDataSample()
    meta = dict(frame_id=frame_id, ori_shape=SIZE, img_shape=SIZE, scale_factor=(1, 1))
    sample.video_data_samples = [DetDataSample(metainfo=meta)]
    return [sample]


def with_tracker(name: str, kind: str = 'TrackingByDetection') -> nn.Module:
    if name == 'iou-embedding':
        tracker = dict(type='IoUEmbeddingTracker')
    else:
        tracker = Config.fromfile(TRACKERS / f'{name}.py').tracker
    with DefaultScope.overwrite_default_scope('mmdet'):
        detector = dict(type='PaintedDetector')
        return MODELS.build(dict(type=kind, detector=detector, tracker=tracker))


def frozen(name: str) -> nn.Module:
    model = build(Config(json.loads((FOLDER / f'{name}.json').read_text())))
    path = FOLDER / f'{name}.pth'
    model.load_state_dict(torch.load(path, weights_only=True)['state_dict'])
    return model.eval()


def rows(clips: list[TrackDataSample]) -> list[list[float]]:
    found = clips[0][0].pred_track_instances
    columns = found.instances_id[:, None], found.bboxes, found.scores[:, None]
    return torch.cat([c.double() for c in columns], dim=1).tolist()


@pytest.mark.parametrize('name', OF_MMDETECTION)
def test_tracks_are_those_of_mmdetections_own_models(name: str):
    ours, theirs = with_tracker(name), with_tracker(name, OF_MMDETECTION[name])
    for seed in (0, 1):
        total = 0
        for t, image in enumerate(video(seed)):
            found = rows(ours.predict(image, clip(t)))
            assert found == rows(theirs.predict(image, clip(t)))
            total += len(found)
        assert total > 60


def with_gaps(seed: int, num_frames: int) -> list[Tensor]:
    """Videos whose objects are also missed in several frames one after the other."""
    rng = np.random.default_rng(seed)
    frames = [x for part in (seed, seed + 1) for x in video(part, num_frames // 2)]
    for row in range(8):
        for start in rng.integers(0, num_frames, 3):
            for image in frames[start : start + int(rng.integers(1, 8))]:
                image[..., row, 4] = 0
    return frames


@pytest.mark.parametrize('gallery', [False, True])
@pytest.mark.parametrize('options', [{}, dict(num_tentatives=1, num_frames_retain=4)])
@pytest.mark.parametrize('name', OF_MMDETECTION)
def test_memory_does_not_grow_with_the_video(name: str, options: dict, gallery: bool):
    """And the tracks are those of a tracker that keeps everything."""
    model, other = with_tracker(name), with_tracker(name)
    ours, keeps = model.tracker, other.tracker
    for tracker in (ours, keeps):
        vars(tracker).update(options)
    if gallery:
        model.tracker = GalleryTracker(ours, threshold=None)
    longest = 0
    for seed in (0, 1):
        for t, image in enumerate(with_gaps(seed, 60)):
            found = rows(model.predict(image, clip(t)))
            (sample,) = other.detect(image[0], list(clip(t)[0]))
            best_first(sample)
            tracks = keeps.track(model=other, img=None, data_sample=sample)
            sample.pred_track_instances = tracks
            kept = TrackDataSample()
            kept.video_data_samples = [sample]
            assert found == rows([kept])
        # OC-SORT also remembers the frames of a gap, until its end.
        most = max(ours.num_tentatives, getattr(ours, 'vel_delta_t', 0) + 1)
        for track in ours.tracks.values():
            lists = [column for column in track.values() if isinstance(column, list)]
            assert len(lists) >= 5
            for column in lists:
                gap = ours.num_frames_retain if column[-1] is None else 0
                assert len(column) <= most + gap
        lengths = [len(track['bboxes']) for track in keeps.tracks.values()]
        longest = max(longest, *lengths)
    assert longest > (5 if name == 'sort' else 12)


@pytest.mark.parametrize('name', [*OF_MMDETECTION, 'iou-embedding'])
def test_the_order_of_detections_does_not_matter(name: str):
    """Detections of a store come in another order; numbers go to the best first."""

    class Reversed(PaintedDetector):
        def predict(self, imgs: Tensor, frames: list, rescale: bool = True) -> list:
            for frame in super().predict(imgs, frames):
                found = frame.pred_instances
                order = torch.arange(len(found)).flip(0)
                frame.pred_instances = InstanceData(
                    **{key: value[order] for key, value in found.items()}
                )
            return frames

    pictures = [x + 1e-3 * torch.arange(8)[:, None] for x in video(4)]  # no equal score
    model = with_tracker(name)
    expected = [rows(model.predict(x, clip(t))) for t, x in enumerate(pictures)]
    model.detector = Reversed()
    found = [rows(model.predict(x, clip(t))) for t, x in enumerate(pictures)]
    assert sum(map(len, expected)) > 60
    assert found == expected


def images(name: str, seed: int) -> list[Tensor]:
    if name not in ('fdta', 'motip', 'motr'):
        return video(seed, num_frames=12)
    rng = torch.Generator().manual_seed(seed)
    still = torch.randn(1, 1, 3, *SIZE, generator=rng)
    return [still.roll(3 * t, -1) for t in range(8)]


@torch.no_grad()
@pytest.mark.parametrize(
    'name', ['bytetrack', 'ocsort', 'sort', 'iou-embedding', 'fdta', 'motr']
)
def test_two_videos_share_a_model(name: str):
    model = frozen(name) if name in ('fdta', 'motr') else with_tracker(name)
    model.tracker.det_thr = 0.3

    def predict(image: Tensor, t: int, tracker: object) -> list[list[float]]:
        inputs = dict(img=image)
        samples = clip(t)
        samples[0][0].set_metainfo(dict(batch_input_shape=SIZE))
        return rows(model(inputs, samples, mode='predict', tracker=tracker))

    videos = [images(name, seed) for seed in (1, 2)]
    alone = [[predict(x, t, None) for t, x in enumerate(video)] for video in videos]
    assert alone[0] != alone[1]
    assert all(any(frame) for frame in alone)
    trackers = [new_tracker(model) for _ in videos]
    together = [[], []]
    for t, pair in enumerate(zip(*videos, strict=True)):
        # The second video begins later and is a frame behind in odd places.
        for k in (0, 1) if t % 2 else (1, 0):
            together[k].append(predict(pair[k], t, trackers[k]))
    assert together == alone
    assert alone[1] == [predict(x, t, None) for t, x in enumerate(videos[1])]


def on_frozen_detector(name: str) -> nn.Module:
    """A tracker on the detector of the frozen FDTA, at thresholds in gaps of scores."""
    fdta, model = frozen('fdta'), with_tracker(name)
    low, high = fdta.tracker.det_thr, fdta.tracker.newborn_thr
    if name == 'iou-embedding':
        model.tracker.score_thr, model.tracker.newborn_thr = low, high
    else:
        model.tracker.obj_score_thrs = dict(high=high, low=low)
        model.tracker.init_track_thr = high
    model.detector, model.data_preprocessor = fdta.detector, fdta.data_preprocessor
    return model.eval()


def track_in_clips(model: nn.Module, images: list[Tensor], length: int) -> list:
    """Tracks of each frame if the model is called with so many frames at a time."""
    found = []
    for first in range(0, len(images), length):
        chunk = images[first : first + length]
        frames = [clip(first + i)[0][0] for i in range(len(chunk))]
        sample = TrackDataSample()
        sample.video_data_samples = frames
        for frame in frames:
            frame.set_metainfo(dict(batch_input_shape=SIZE))
        inputs = dict(img=torch.cat(chunk, dim=1))
        model(inputs, [sample], mode='predict')
        found += [rows([[frame]]) for frame in frames]
    return found


@torch.no_grad()
@pytest.mark.parametrize('length', [3, 5])
@pytest.mark.parametrize('name', [*OF_MMDETECTION, 'iou-embedding'])
def test_several_frames_per_call_give_the_same_tracks(name: str, length: int):
    model, images = with_tracker(name), video(3, num_frames=13)
    one_by_one = track_in_clips(model, images, 1)
    assert sum(map(len, one_by_one)) > 40
    assert track_in_clips(model, images, length) == one_by_one


@torch.no_grad()
@pytest.mark.parametrize('name', ['bytetrack', 'iou-embedding', 'fdta', 'motr'])
def test_several_frames_per_call_of_a_network_give_the_same_tracks(name: str):
    """Convolutions of a batch round otherwise; identities and their order are equal."""
    model = frozen(name) if name in ('fdta', 'motr') else on_frozen_detector(name)
    mean, std = model.data_preprocessor.mean, model.data_preprocessor.std
    pictures = [torch.from_numpy(image) for image in frozen_frames()]
    images = [((x / 255 - mean) / std)[None, None] for x in pictures]
    one_by_one = track_in_clips(model, images, 1)
    ids = [row[0] for frame in one_by_one for row in frame]
    assert len(ids) > 1.5 * len(set(ids)) > 0
    for frame, expected in zip(
        track_in_clips(model, images, 5), one_by_one, strict=True
    ):
        assert [row[0] for row in frame] == [row[0] for row in expected]
        np.testing.assert_allclose(frame, expected, rtol=1e-5, atol=1e-3)


@torch.no_grad()
@pytest.mark.parametrize(('name', 'expected'), [('fdta', 2), ('motip', 2), ('motr', 1)])
def test_copies_to_the_host_per_frame(name: str, expected: int, monkeypatch):
    """Detections in one, ID scores in another; none for the tracker's own sake."""
    model, copies = frozen(name), []
    cpu = Tensor.cpu
    monkeypatch.setattr(Tensor, 'cpu', lambda x: copies.append(x.shape) or cpu(x))
    monkeypatch.setattr(Tensor, 'item', lambda x: pytest.fail('waits for a number'))
    for t, image in enumerate(images(name, 0)):
        samples = clip(t)
        samples[0][0].set_metainfo(dict(batch_input_shape=SIZE))
        before = len(copies)
        model(dict(img=image), samples, mode='predict')
        found = samples[0][0].pred_track_instances
        assert len(found)
        assert len(copies) - before == (expected if t else 1)


def test_the_state_machine_loads_neither_pytorch_nor_mmdetection():
    code = (
        'import sys\n'
        'import mmfdta.models.trackers.assignment as a\n'
        'a.IdentityAssignment()\n'
        "assert not {'torch', 'mmdet', 'mmcv', 'mmengine'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, '-c', code], check=True)


def test_a_tracker_that_compares_crops_is_refused():
    tracker = copy.deepcopy(Config.fromfile(TRACKERS / 'sort.py').tracker)
    tracker.reid = dict(num_samples=10)
    with pytest.raises(ValueError, match=r'model\.tracker\.reid: SORTTracker'):
        TrackingByDetection(dict(type='PaintedDetector'), tracker)


@pytest.mark.parametrize('broken', [0, 4], ids=['box', 'score'])
@pytest.mark.parametrize('name', [*OF_MMDETECTION, 'iou-embedding'])
def test_detections_that_are_not_finite_are_refused(name: str, broken: int):
    model, fresh = with_tracker(name), with_tracker(name)
    frames = video(3, 4)
    frames = [torch.cat([x, x[..., -1:, :]], dim=-2) for x in frames]
    bad = frames[2].clone()
    bad[0, 0, 0, 3, broken] = torch.inf
    for t, image in enumerate(frames):
        if t == 2:
            with pytest.raises(ValueError, match='infinity for 1 of .* in frame 2'):
                model.predict(bad, clip(t))
        assert rows(model.predict(image, clip(t))) == rows(
            fresh.predict(image, clip(t))
        )


@torch.no_grad()
def test_crops_of_boxes_that_are_not_finite_are_refused():
    network = dict(type='ReIDNetwork', depth=18, base_channels=4)
    model = with_tracker('bytetrack').eval()
    model.data_preprocessor = MODELS.build(dict(type='ClipDataPreprocessor'))
    model.embeddings = CropEmbeddings(network, size=(32, 16)).eval()
    (image,) = video(3, 1)
    frames = clip(0)
    frames[0][0].set_metainfo(dict(img_shape=image.shape[-2:]))
    model.predict(image, frames)
    image[..., 3, 1] = torch.nan
    with pytest.raises(ValueError, match='infinity for 1 of .* in frame 0'):
        model.predict(image, frames)
