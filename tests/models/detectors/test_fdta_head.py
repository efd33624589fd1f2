# Copyright (c) mmfdta authors.
"""The losses of all decoder layers against MMDetection's, layer by layer."""

import pytest
import torch
from mmdet.registry import MODELS
from mmdet.structures.bbox import bbox_cxcywh_to_xyxy
from mmengine.structures import InstanceData
from small_fdta import build, make_clip, small_config

from mmfdta.models.detectors import ClipTargets, DetectorOutputs, MergedOutputs

LAYERS, QUERIES = 3, 12


def _head(**losses):
    config = small_config()
    config.detector.bbox_head.update(losses)
    return build(config).detector.bbox_head


def _targets(counts: list[int]) -> ClipTargets:
    frames = []
    for seed, count in enumerate(counts):
        (frame,) = make_clip(1, num_objects=count, seed=seed)['data_samples']
        frame.set_metainfo(dict(batch_input_shape=(64, 96)))
        frames.append(frame)
    return ClipTargets.from_samples(frames)


def _outputs(frames: int) -> DetectorOutputs:
    return DetectorOutputs(
        torch.randn(LAYERS, frames, QUERIES, 1, requires_grad=True),
        (0.1 + 0.3 * torch.rand(LAYERS, frames, QUERIES, 4)).requires_grad_(),
        torch.randn(frames, QUERIES, 32),
        torch.randn(frames, 11, 8, 12, requires_grad=True),
    )


def _plain(head, outputs: DetectorOutputs, targets: ClipTargets, query_idx) -> dict:
    """Each layer's losses on its own, frame by frame, by MMDetection's modules."""
    number = torch.tensor(max(1.0, sum(targets.num_valid)))
    found = {}
    for layer in range(LAYERS):
        labels, pred, target = [], [], []
        for frame, count in enumerate(targets.num_valid):
            of_frame = torch.full((QUERIES,), head.num_classes)
            for box in range(count):
                query = int(query_idx[layer, frame, box])
                if query >= 0:
                    of_frame[query] = targets.labels[frame, box]
                    pred.append(outputs.bbox_preds[layer, frame, query])
                    target.append(targets.boxes[frame, box])
            labels.append(of_frame)
        pred = torch.stack(pred) if pred else outputs.bbox_preds[layer, 0, :0]
        target = torch.stack(target) if target else pred.detach()
        scale = torch.tensor([96.0, 64.0, 96.0, 64.0])
        prefix = '' if layer == LAYERS - 1 else f'd{layer}.'
        found[f'{prefix}loss_cls'] = head.loss_cls(
            outputs.cls_scores[layer].flatten(0, 1),
            torch.cat(labels),
            avg_factor=number,
        )
        found[f'{prefix}loss_bbox'] = head.loss_bbox(pred, target, avg_factor=number)
        found[f'{prefix}loss_iou'] = head.loss_iou(
            bbox_cxcywh_to_xyxy(pred) * scale,
            bbox_cxcywh_to_xyxy(target) * scale,
            avg_factor=number,
        )
    return found


@pytest.mark.parametrize('iou', ['GIoULoss', 'DIoULoss'])
@pytest.mark.parametrize('counts', [[3, 0, 5], [0, 0], [20, 1], [1]])
def test_losses_are_mmdetections(counts: list[int], iou: str):
    head = _head(loss_iou=dict(type=iou, loss_weight=2.0))
    targets, outputs = _targets(counts), _outputs(len(counts))
    losses, matches = head.loss_by_feat(outputs, targets)
    expected = _plain(head, outputs, targets, matches.query_idx)
    assert list(losses) == list(expected)
    torch.testing.assert_close(losses, expected, rtol=1e-6, atol=1e-6)
    leaves = outputs.cls_scores, outputs.bbox_preds
    torch.testing.assert_close(
        torch.autograd.grad(sum(losses.values()), leaves),
        torch.autograd.grad(sum(expected.values()), leaves, allow_unused=True)
        if sum(counts)
        else (
            torch.autograd.grad(sum(expected.values()), leaves[0])[0],
            torch.zeros_like(leaves[1]),
        ),
        rtol=1e-5,
        atol=1e-7,
    )


@pytest.mark.parametrize('mask_padding', [False, True])
def test_depth_loss_of_parts_is_that_of_the_whole(mask_padding: bool):
    head = _head()
    head.loss_depth.mask_padding = mask_padding
    targets, whole = _targets([3, 0, 5, 2, 4]), _outputs(5)
    maps = torch.rand(5, 1, 64, 96) * 255
    expected, _ = head.loss_by_feat(whole, targets, maps)
    orders = [torch.tensor([4, 1]), torch.tensor([0]), torch.tensor([3, 2])]
    leaves = [whole.depth_logits.detach()[order] for order in orders]
    leaves[0].requires_grad_()
    parts = [
        DetectorOutputs(
            whole.cls_scores[:, order],
            whole.bbox_preds[:, order],
            whole.embeddings[order],
            leaf,
        )
        for order, leaf in zip(orders, leaves, strict=True)
    ]
    merged = MergedOutputs.of(parts, orders)
    assert torch.equal(merged.embeddings, whole.embeddings)
    found, _ = head.loss_by_feat(merged, targets, maps)
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-7)
    torch.testing.assert_close(
        torch.autograd.grad(found['loss_depth'], leaves[0])[0],
        torch.autograd.grad(expected['loss_depth'], whole.depth_logits)[0][orders[0]],
    )


def test_a_detector_is_trained_with_annotations_of_any_device():
    """Those of MMDetection's data preprocessor have no identities."""
    model = MODELS.build(small_config().detector)
    model.init_weights()
    (frame,) = make_clip(1)['data_samples']
    gt = frame.gt_instances
    frame.gt_instances = InstanceData(bboxes=gt.bboxes, labels=gt.labels)
    frame.set_metainfo(dict(batch_input_shape=(64, 96)))
    losses = model.loss(torch.randn(1, 3, 64, 96), [frame])
    assert all(value.isfinite() for value in losses.values())
