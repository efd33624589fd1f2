# Copyright (c) mmfdta authors.
"""MOTR beside the released code: the same tracks, assignments, losses, gradients."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from mmdet.structures import DetDataSample, TrackDataSample
from mmengine.structures import InstanceData
from motr_model import DATA, build_motr
from weights import golden_weights

from mmfdta.checkpoints.families import find_family
from mmfdta.checkpoints.rules import to_source
from mmfdta.models import MOTR
from mmfdta.models.detectors import ClipTargets, DetectorOutputs

CASES = ('released', 'patient')


def _load(name: str) -> tuple[dict[str, np.ndarray], dict]:
    with np.load(DATA / f'{name}.npz') as file:
        arrays = {key: file[key] for key in file.files}
    return arrays, json.loads(str(arrays.pop('meta')))


# ------------------------------------------------------------------- inference
@pytest.fixture(scope='module')
def inference() -> tuple[dict[str, np.ndarray], dict]:
    return _load('inference')


@pytest.fixture(scope='module')
def tracker(inference) -> MOTR:
    return build_motr(inference[1]).eval()


def _frame(image: np.ndarray, size: tuple[int, int], t: int) -> dict:
    meta = dict(img_shape=image.shape[:2], ori_shape=tuple(size), frame_id=t)
    sample = TrackDataSample()
    sample.video_data_samples = [DetDataSample(metainfo=meta)]
    pixels = torch.from_numpy(image).permute(2, 0, 1)[None]
    return dict(inputs=dict(img=[pixels]), data_samples=[sample])


@torch.no_grad()
def _follow(model: MOTR, golden: dict, settings: dict, case: str) -> dict:
    """Everything the golden file knows of a case."""
    for name, value in settings['cases'][case].items():
        setattr(model.tracker, name, value)
    outputs: list[DetectorOutputs] = []
    rows, ids, misses = [], [], []
    detect = model.detector.num_queries
    decode = model.detector.decode

    def watch(*args) -> DetectorOutputs:
        outputs.append(decode(*args))
        return outputs[-1]

    model.detector.decode = watch
    for t, image in enumerate(golden['in_frames']):
        batch = model.data_preprocessor(_frame(image, settings['image_size'], t))
        tracks = model(**batch, mode='predict')[0][0].pred_track_instances
        corners = tracks.bboxes.numpy()
        for identity, box in zip(tracks.instances_id.tolist(), corners, strict=True):
            rows.append([t + 1, identity + 1, *box[:2], *(box[2:] - box[:2])])
        ids.append(model.tracker.ids)
        misses.append(model.tracker.misses)
    model.detector.decode = decode
    return dict(
        num=np.array([o.cls_scores.shape[2] for o in outputs]),
        logits=torch.cat([o.cls_scores[-1, 0] for o in outputs]).numpy(),
        boxes=torch.cat([o.bbox_preds[-1, 0] for o in outputs]).numpy(),
        states=torch.cat([o.embeddings[0, detect:] for o in outputs])[:, ::8].numpy(),
        alive=np.concatenate(ids),
        misses=np.concatenate(misses),
        rows=np.array(rows, dtype=np.float32),
    )


@pytest.fixture(scope='module', params=CASES)
def followed(request, tracker, inference) -> tuple[dict, dict]:
    """What was found and what is expected."""
    golden, settings = inference
    prefix = f'out_{request.param}_'
    expected = {
        key.removeprefix(prefix): value
        for key, value in golden.items()
        if key.startswith(prefix)
    }
    return _follow(tracker, golden, settings, request.param), expected


def test_every_query_sees_the_same(followed):
    found, expected = followed
    assert found['num'].tolist() == expected['num'].tolist()
    np.testing.assert_allclose(found['logits'], expected['logits'], rtol=0, atol=3e-4)
    np.testing.assert_allclose(found['boxes'], expected['boxes'], rtol=0, atol=1e-5)
    np.testing.assert_allclose(found['states'], expected['states'], rtol=0, atol=1e-4)


def test_births_lives_and_deaths(followed):
    """Identities and misses of every track after every frame."""
    found, expected = followed
    alive = expected['ids'] >= 0
    assert found['alive'].tolist() == expected['ids'][alive].tolist()
    assert found['misses'].tolist() == expected['misses'][alive].tolist()
    # The case is worth its name.
    last = expected['ids'][-expected['num'][-1] :]
    lives = np.bincount(expected['ids'][alive])
    assert len(lives) > 20
    assert (lives >= 4).any()
    assert len(set(range(len(lives))) - set(last.tolist())) > 10


def test_written_rows(followed):
    """Frame and identity exactly, boxes in pixels of a 640 x 480 image."""
    found, expected = followed
    assert found['rows'].shape == expected['rows'].shape
    assert found['rows'][:, :2].tolist() == expected['rows'][:, :2].tolist()
    np.testing.assert_allclose(found['rows'], expected['rows'], rtol=0, atol=0.005)


# -------------------------------------------------------------------- training
@pytest.fixture(scope='module')
def training() -> tuple[dict[str, np.ndarray], dict]:
    return _load('training')


def _clip(golden: dict) -> dict:
    """The batch of the golden clip as the data pipeline hands it over."""
    images = torch.from_numpy(golden['in_frames']).permute(0, 3, 1, 2)
    height, width = images.shape[-2:]
    scale = torch.tensor([width, height, width, height])
    starts = np.cumsum(golden['in_num'])[:-1]
    frames = []
    for boxes, ids in zip(
        np.split(golden['in_boxes'], starts),
        np.split(golden['in_ids'], starts),
        strict=True,
    ):
        centre, size = (torch.from_numpy(boxes) * scale).split(2, dim=1)
        frame = DetDataSample(
            metainfo=dict(img_shape=(height, width), ori_shape=(height, width))
        )
        frame.gt_instances = InstanceData(
            bboxes=torch.cat([centre - size / 2, centre + size / 2], dim=1),
            labels=torch.zeros(len(ids), dtype=torch.int64),
            instances_ids=torch.from_numpy(ids),
        )
        frames.append(frame)
    sample = TrackDataSample()
    sample.video_data_samples = frames
    return dict(inputs=dict(img=[images]), data_samples=[sample])


def _released_losses(losses: dict, frame: int, scale: float) -> dict[str, float]:
    """Losses of a frame under the released names, on a common normaliser."""
    names = dict(loss_cls='loss_ce', loss_bbox='loss_bbox', loss_iou='loss_giou')
    renamed = {}
    for name, value in losses.items():
        layer, _, plain = name.rpartition('.')
        aux = f'aux{layer[1:]}_' if layer else ''
        renamed[f'frame_{frame}_{aux}{names[plain]}'] = scale * float(value)
    return renamed


@pytest.fixture(scope='module')
def step(training) -> dict:
    """One training step, and what was seen on the way; frames are recomputed."""
    golden, settings = training
    model = build_motr(settings).train()
    assert model.with_cp
    model.query_sampling.drop_prob = settings['drop_prob']
    model.query_sampling.insert_prob = settings['insert_prob']
    seen, head = {}, model.detector.bbox_head
    loss_clips, match = head.loss_clips, model.matcher.__call__
    before = []

    def watch_frames(frames, targets) -> dict:
        seen['frames'], seen['targets'] = frames, targets
        return loss_clips(frames, targets)

    def watch_tracklets(*args):
        before.append(args[-1].identities)
        return match(*args)

    head.loss_clips, model.matcher = watch_frames, watch_tracklets
    batch = model.data_preprocessor(_clip(golden), training=True)
    torch.manual_seed(settings['torch_seed'])
    losses = model(**batch, mode='loss')
    sum(losses.values()).backward()
    return dict(
        seen,
        before=torch.cat(before).numpy(),
        losses=losses,
        grads={
            _released_name(name): p.grad
            for name, p in model.named_parameters()
            if p.requires_grad
        },
        loss_clips=loss_clips,
    )


def _released_name(name: str) -> str:
    source = to_source(find_family('motr').rules, name)
    return golden_weights().canonical_name(source)


def test_the_same_queries_follow_the_same_objects(step, training):
    """Births, drops, inserted queries and lost objects, frame by frame."""
    golden = training[0]
    frames = step['frames']
    counts = [len(f.matches.tracklets.identities) for f in frames]
    assert counts == golden['out_num'].tolist()
    assert step['before'].tolist() == golden['out_ids_before'].tolist()
    after = torch.cat([f.matches.tracklets.identities for f in frames]).numpy()
    assert after.tolist() == golden['out_ids'].tolist()
    lost = [f.matches.num_lost for f in frames]
    assert lost == (golden['out_num_samples'] - golden['in_num']).tolist()
    # The case is worth its name.
    assert sum(lost) > 0
    tracks = [b[300:] for b in np.split(step['before'], np.cumsum(counts)[:-1])]
    assert all((b == -1).any() and (b >= 0).any() for b in tracks[1:])


def test_predictions_in_training(step, training):
    golden, frames = training[0], step['frames']
    outputs = [f.outputs for f in frames]
    logits = torch.cat([o.cls_scores[-1, 0] for o in outputs]).detach().numpy()
    boxes = torch.cat([o.bbox_preds[-1, 0] for o in outputs]).detach().numpy()
    ious = torch.cat([f.matches.tracklets.ious for f in frames]).numpy()
    np.testing.assert_allclose(logits, golden['out_logits'], rtol=0, atol=3e-4)
    np.testing.assert_allclose(boxes, golden['out_boxes'], rtol=0, atol=1e-5)
    np.testing.assert_allclose(ious, golden['out_ious'], rtol=0, atol=1e-4)


def test_losses_of_every_frame_and_layer(step, training):
    golden = training[0]
    names = golden['out_loss_names'].tolist()
    expected = dict(zip(names, golden['out_losses'].tolist(), strict=True))
    samples = golden['out_num_samples']
    found = {}
    for t, (frame, count) in enumerate(zip(step['frames'], samples, strict=True)):
        losses = step['loss_clips']([frame], _of_frame(step['targets'], t))
        found |= _released_losses(losses, t, count / samples.sum())
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        np.testing.assert_allclose(found[name], value, rtol=2e-4, err_msg=name)


def _of_frame(targets: ClipTargets, t: int) -> ClipTargets:
    tensors = ('boxes', 'labels', 'identities', 'valid', 'image_sizes')
    part = {name: getattr(targets, name)[t : t + 1] for name in tensors}
    return replace(targets, num_valid=targets.num_valid[t : t + 1], **part)


def test_collective_average_loss(step, training):
    total = float(sum(step['losses'].values()))
    np.testing.assert_allclose(total, training[0]['out_total'], rtol=1e-4)


def test_gradients(step, training):
    golden = training[0]
    norms = golden['out_grad_norms'].tolist()
    for name, norm in zip(golden['out_grad_names'].tolist(), norms, strict=True):
        if np.isnan(norm):
            # Frozen, or the norm that the released code never uses.
            assert name not in step['grads'], name
        else:
            found = float(step['grads'][name].norm())
            np.testing.assert_allclose(found, norm, rtol=2e-3, atol=1e-5, err_msg=name)


def test_gradient_samples(step, training):
    golden = training[0]
    for name, row, scale in zip(
        golden['out_sample_names'].tolist(),
        golden['out_samples'],
        golden['out_sample_scales'],
        strict=True,
    ):
        grad = step['grads'][name].flatten()
        found = grad[:: max(1, len(grad) // 64)][:64].numpy()
        assert np.isnan(row[len(found) :]).all()
        np.testing.assert_allclose(
            found, row[: len(found)], rtol=0, atol=2e-3 * scale, err_msg=name
        )
