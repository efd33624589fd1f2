# Copyright (c) mmfdta authors.
"""Each module of FDTA on the GPU against the CPU, values and gradients, in float32."""

from collections.abc import Callable
from functools import cached_property
from typing import Any

import torch
from mmdet.structures import DetDataSample
from torch import Tensor

from mmfdta.models import FDTA

from .bench import Bench, collate, make_clip
from .checks import Found, check, judge
from .comparing import Pass, difference, moved, on_both

# Norm of the difference over the norm of the CPU's. Convolutions and products sum in
# another order there, which costs some 1e-6 a layer; ReLUs near zero and samples near
# the middle of a pixel make single elements of gradients jump.
VALUES, GRADIENTS = 1e-4, 5e-3
ALLOWED = f'values {VALUES:g}, gradients {GRADIENTS:g} of their norm'


class Parts:
    """The FDTA model in parts, with the inputs of each on the CPU.

    Two frames, the second of them padded.

    Args:
        bench: The workbench.
    """

    def __init__(self, bench: Bench) -> None:
        model = bench.model('FDTA')
        assert isinstance(model, FDTA)
        self.model = model
        self.detector = model.detector
        width, height = bench.frame_size
        draw = torch.Generator().manual_seed(1)
        self.images = torch.randn(2, 3, height, width, generator=draw)
        shapes = (height, width), (height - height // 5, width - width // 7)
        self.samples = []
        for i, shape in enumerate(shapes):
            meta = dict(img_shape=shape, ori_shape=shape, frame_id=i)
            meta['batch_input_shape'] = (height, width)
            self.samples.append(DetDataSample(metainfo=meta))
        self.images[1, :, shapes[1][0] :] = 0
        self.images[1, :, :, shapes[1][1] :] = 0
        self.channels = model.trajectory_modeling.norm.normalized_shape[0]
        self.words = model.id_decoder.num_id_vocabulary

    @cached_property
    def levels(self) -> tuple[Tensor, ...]:
        """Levels of the neck."""
        with torch.no_grad():
            return self.detector.extract_feat(self.images)

    @cached_property
    def encoder_inputs(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """Inputs of encoder and decoder."""
        with torch.no_grad():
            return self.detector.pre_transformer(self.levels, self.samples)

    @cached_property
    def decoder_inputs(self) -> dict[str, Any]:
        """Inputs of the decoder, complete."""
        encoder, decoder = self.encoder_inputs
        with torch.no_grad():
            memory = self.detector.forward_encoder(**encoder)
            queries, _ = self.detector.pre_decoder(**memory)
        # Queries are views of weights that checks move to another device.
        return moved({**decoder, **queries}, torch.device('cpu'))

    def trajectories(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Features (1, 2, T, N, C) with gradients, words, masks and times."""
        frames, objects = min(self.model.window, 12), 7
        draw = torch.Generator().manual_seed(2)
        shape = 1, 2, frames, objects
        features = torch.randn(*shape, self.channels, generator=draw)
        masks = torch.rand(shape, generator=draw) < 0.3
        words = torch.arange(objects).expand(shape) % self.words
        return features.requires_grad_(), words, masks, torch.arange(frames)


def _parts(bench: Bench) -> Parts:
    """The parts, built once for a process."""
    return bench.remember('parts', lambda: Parts(bench))


def compare(found: Pass, expected: Pass) -> Found:
    """Judge a pass on the device by the one on the CPU."""
    values = difference(found.values, expected.values)
    gradients = difference(found.gradients, expected.gradients)
    return judge(
        values <= VALUES and gradients <= GRADIENTS,
        f'values {values:.1e}, gradients {gradients:.1e}',
        values=values,
        gradients=gradients,
    )


def _check(
    name: str, compared: str = 'values and gradients'
) -> Callable[[Callable[[Bench, Parts], Found]], Callable[[Bench], Found]]:
    """Make a check that gets the parts, too."""

    def register(run: Callable[[Bench, Parts], Found]) -> Callable[[Bench], Found]:
        def whole(bench: Bench) -> Found:
            return run(bench, _parts(bench))

        return check('modules', name, compared, ALLOWED)(whole)

    return register


def _leaf(tensor: Tensor) -> Tensor:
    return tensor.detach().clone().requires_grad_()


@_check('backbone and neck')
def _backbone(bench: Bench, parts: Parts) -> Found:
    call = parts.detector.extract_feat
    return compare(*on_both(parts.detector, [parts.images], bench.device, call))


@_check('backbone, folded', 'values, as at inference')
def _folded(bench: Bench, parts: Parts) -> Found:
    parts.detector.backbone.eval()
    with torch.no_grad():
        found, expected = on_both(parts.detector.backbone, [parts.images], bench.device)
    return compare(found, expected)


@_check('encoder')
def _encoder(bench: Bench, parts: Parts) -> Found:
    inputs = dict(parts.encoder_inputs[0])
    inputs['feat'] = _leaf(inputs['feat'])
    return compare(*on_both(parts.detector, [inputs], bench.device, _unpacked(parts)))


def _unpacked(parts: Parts) -> Callable[[dict], Any]:
    return lambda inputs: parts.detector.forward_encoder(**inputs)['memory']


@_check('Spatial Adapter')
def _spatial(bench: Bench, parts: Parts) -> Found:
    adapter = parts.detector.spatial_adapter
    finest = parts.levels[0].shape
    mask = parts.encoder_inputs[0]['feat_mask'][:, : finest[2] * finest[3]]
    pos = torch.randn(
        len(mask), mask.shape[1], finest[1], generator=torch.Generator().manual_seed(3)
    )
    levels = [_leaf(level) for level in parts.levels[:3]]
    return compare(*on_both(adapter, [levels, mask, pos], bench.device))


@_check('decoder')
def _decoder(bench: Bench, parts: Parts) -> Found:
    inputs = dict(parts.decoder_inputs)
    inputs['memory'] = _leaf(inputs['memory'])

    def run(inputs: dict) -> Any:
        return parts.detector.forward_decoder(**inputs)['hidden_states']

    return compare(*on_both(parts.detector, [inputs], bench.device, run))


@_check('Temporal Adapter')
def _temporal(bench: Bench, parts: Parts) -> Found:
    features, _, masks, _ = parts.trajectories()

    def run(features: Tensor, masks: Tensor) -> Tensor:
        out = parts.model.temporal_adapter(features, masks)
        return out.masked_fill(masks[..., None], 0)  # nothing stands there

    adapter = parts.model.temporal_adapter
    return compare(*on_both(adapter, [features, masks], bench.device, run))


@_check('trajectory modelling')
def _modelling(bench: Bench, parts: Parts) -> Found:
    features, *_ = parts.trajectories()
    part = parts.model.trajectory_modeling
    return compare(*on_both(part, [features], bench.device))


@_check('ID decoder', 'a clip: values and gradients')
def _id_clip(bench: Bench, parts: Parts) -> Found:
    features, words, masks, times = parts.trajectories()
    inputs = [features, words, masks, times, _leaf(features), masks, times]

    def run(*inputs: Tensor) -> Tensor:
        logits = parts.model.id_decoder(*inputs)
        return logits.masked_fill(inputs[5][..., None], 0)

    return compare(*on_both(parts.model.id_decoder, inputs, bench.device, run))


@_check('ID decoder, one frame', 'a frame: values and gradients')
def _id_frame(bench: Bench, parts: Parts) -> Found:
    features, words, masks, times = parts.trajectories()
    now = _leaf(features[:, :, :1])
    nothing = torch.zeros_like(masks[:, :, :1])
    inputs = [features, words[:, :, :1], masks, times, now, nothing, times[-1:] + 1]
    return compare(*on_both(parts.model.id_decoder, inputs, bench.device))


# ----------------------------------------------------------------------------- losses
def _losses_of(model: FDTA, clip: dict[str, Any], outputs: Any) -> dict[str, Tensor]:
    """The losses of a clip, given what the detector found in it."""
    data = model.data_preprocessor(collate(clip), training=True)
    detection, model.clip_detection = model.clip_detection, lambda *_: outputs
    try:
        return model.loss(**data)
    finally:
        model.clip_detection = detection


def _losses(bench: Bench, parts: Parts) -> dict[str, tuple[Pass, Pass]]:
    """Losses of one kind and their gradients, on the device and on the CPU."""
    model, frames = parts.model, bench.clip_frames
    model.train()
    clip = make_clip(frames, bench.frame_size, 5, parts.words)
    data = model.data_preprocessor(collate(clip), training=True)
    with torch.no_grad():
        images = data['inputs']['img'].flatten(0, 1)
        outputs = model.detector.detect(images, list(data['data_samples'][0]))
    outputs = moved(outputs, torch.device('cpu'))
    for name, tensor in vars(outputs).items():
        setattr(outputs, name, tensor.requires_grad_())
    results = {}
    for kind, belongs in KINDS.items():

        def run(outputs: Any, belongs: Any = belongs) -> list[Tensor]:
            found = _losses_of(model, clip, outputs)
            return [found[name] for name in sorted(found) if belongs(name)]

        results[kind] = on_both(model, [outputs], bench.device, run)
    return results


KINDS = {
    'detection losses': lambda n: (
        n not in ('loss_depth', 'loss_contrastive', 'loss_id') and 'loss' in n
    ),
    'depth loss': lambda name: name == 'loss_depth',
    'contrastive loss': lambda name: name == 'loss_contrastive',
    'ID loss': lambda name: name == 'loss_id',
}


def _register_losses() -> None:
    for kind in KINDS:

        def run(bench: Bench, parts: Parts, kind: str = kind) -> Found:
            results = bench.remember('losses', lambda: _losses(bench, parts))
            return compare(*results[kind])

        _check(kind, 'values, gradients for the detector')(run)


_register_losses()
