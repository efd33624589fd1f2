# Copyright (c) mmfdta authors.
"""What the process of the released code does: a video, times, a training step."""

import json
import sys
import traceback
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from .released_code import Released, as_annotations
from .speed import peak_of, seconds_of

_GRADIENT_FRAMES, _OTHERS_AT_ONCE = 4, 20


class Side:
    """The released code with the weights that are given.

    Args:
        request: See `released.Request`.
    """

    def __init__(self, request: dict[str, Any]) -> None:
        torch.backends.cuda.matmul.allow_tf32 = False
        torch.backends.cudnn.allow_tf32 = False
        self.request = request
        self.device = torch.device(request['device'])
        if self.device.type == 'cuda':
            torch.cuda.set_device(self.device)
        operator = request['operator'] and Path(request['operator'])
        checkout = Path(request['checkout'])
        self.code = Released(checkout, self.device, operator)
        self.model, self.criterion = self.code.build()
        weights = torch.load(request['weights'], weights_only=True)
        self.model.load_state_dict(weights, strict=True)
        self.model.to(self.device)
        self.criterion.to(self.device)
        self.nested = self.code.load('utils.nested_tensor').NestedTensor

    def tracker(self, size: Sequence[int]) -> Any:
        """A tracker for frames of a width and height."""
        kind = self.code.load('models.runtime_tracker').RuntimeTracker
        width, height = size
        return kind(
            model=self.model,
            sequence_hw=(height, width),
            assignment_protocol='object-max',
            **self.request['thresholds'],
        )

    def nest(self, image: Tensor) -> Any:
        """A normalised frame (3, H, W) on the device."""
        mask = torch.zeros(1, *image.shape[1:], dtype=torch.bool)
        return self.nested(image[None], mask).to(self.device)

    def video(self) -> list[dict[str, Any]]:
        """Identities and boxes (x, y, w, h) of each frame of the video."""
        frames = torch.load(self.request['frames'], weights_only=True)
        tracker = self.tracker((frames.shape[-1], frames.shape[-2]))
        found = []
        for frame in frames:
            tracker.update(self.nest(frame))
            result = tracker.get_track_results()
            boxes = result['bbox'].reshape(-1, 4).tolist()
            found.append(dict(identity=result['id'].tolist(), xywh=boxes))
        return found

    def speed(self, size: Sequence[int]) -> dict[str, float]:
        """Frames per second, and bytes at the peak."""
        width, height = size
        draw = torch.Generator().manual_seed(0)
        images = [torch.randn(3, height, width, generator=draw) for _ in range(4)]
        tracker, step = self.tracker(size), [0]

        def run() -> None:
            tracker.update(self.nest(images[step[0] % 4]))
            tracker.get_track_results()['bbox'].cpu()
            step[0] += 1

        seconds = seconds_of(run, self.device, *self.request['frame_runs'])
        return dict(frames_per_second=1 / seconds, peak=peak_of(run, self.device))

    def training(self) -> dict[str, float]:
        """Seconds of a training step with the optimiser, and bytes at the peak."""
        clip = torch.load(self.request['clip'], weights_only=False)
        step = self._step(**clip)
        seconds = seconds_of(step, self.device, *self.request['step_runs'])
        return dict(seconds=seconds, peak=peak_of(step, self.device))

    def _step(self, sample: Any, images: Tensor, depth: Tensor) -> Callable[[], None]:
        model, criterion = self.model.train(), self.criterion
        train = self.code.load('train')
        identify = self.code.load('models.fdta.id_criterion').build(self.code.config)
        annotations = [as_annotations(sample, self.device)]
        length = len(images)
        groups: list[list[nn.Parameter]] = [[], []]
        for name, parameter in model.named_parameters():
            groups['detr' not in name].append(parameter)
        trained = [*groups[0], *groups[1], *criterion.parameters()]
        trained = [p for p in trained if p.requires_grad]
        optimiser = torch.optim.AdamW(trained, lr=1e-4, weight_decay=5e-4)

        def step() -> None:
            frames, maps = images.to(self.device), depth.to(self.device)
            mask = torch.zeros(length, *images.shape[2:], dtype=torch.bool)
            mask = mask.to(self.device)
            targets = train.annotations_to_flatten_detr_targets(
                annotations, self.device
            )

            def detect(index: Tensor) -> dict:
                inputs = [self.nested(x[index], mask[index]) for x in (frames, maps)]
                return model(frames=inputs[0], depthmaps=inputs[1], part='detr')

            order = torch.randperm(length, device=self.device)
            outputs = None
            with torch.no_grad():
                for chunk in order[_GRADIENT_FRAMES:].split(_OTHERS_AT_ONCE):
                    outputs = train.tensor_dict_cat(outputs, detect(chunk))
            outputs = train.tensor_dict_cat(detect(order[:_GRADIENT_FRAMES]), outputs)
            outputs = train.tensor_dict_index_select(outputs, order.argsort())
            losses, indices = criterion(
                outputs=outputs, targets=targets, batch_len=10, epoch=1
            )
            info = train.prepare_for_fdta(outputs, annotations, indices)
            for part in ('trajectory_embedding', 'trajectory_modeling'):
                info = model(seq_info=info, part=part)
            logits, labels, masks = model(seq_info=info, part='id_decoder')
            weights = criterion.weight_dict
            total = sum(losses[n] * weights[n] for n in losses if n in weights)
            total = total + identify(logits, labels, masks)
            for value in (total, *losses.values()):
                value.item()  # as it logs them
            optimiser.zero_grad()
            total.backward()
            for group in groups:
                torch.nn.utils.clip_grad_norm_(group, 0.1).item()
            optimiser.step()

        return step


def main(arguments: Sequence[str]) -> int:
    """Do what a request says; what fails is said in the reply.

    Args:
        arguments: Paths of the request and of the reply.

    Returns:
        Exit code, 0.
    """
    request = json.loads(Path(arguments[0]).read_text('utf-8'))
    side = Side(request)
    reply: dict[str, Any] = {}
    with torch.no_grad():
        _try(reply, 'video', side.video)
        for width, height in request['sizes']:
            name = f'{width}x{height}'
            _try(reply, name, partial(side.speed, (width, height)))
    _try(reply, 'training', side.training)
    Path(arguments[1]).write_text(json.dumps(reply), encoding='utf-8')
    return 0


def _try(reply: dict[str, Any], name: str, run: Callable[[], Any]) -> None:
    try:
        reply[name] = run()
    except Exception as error:
        traceback.print_exception(error)
        text = ' '.join(str(error).split())[:150]
        reply[name] = dict(error=f'{type(error).__name__}: {text}')
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


if __name__ == '__main__':
    sys.exit(main(sys.argv[1:]))
