# Copyright (c) mmfdta authors.
"""What the checks work on: models with weights of their own, frames, clips."""

import contextlib
import copy
import gc
import logging
import os
import re
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from mmdet.registry import MODELS
from mmdet.structures import DetDataSample, TrackDataSample
from mmengine.config import Config
from mmengine.logging import MMLogger
from mmengine.registry import init_default_scope
from mmengine.structures import BaseDataElement, InstanceData
from torch import Tensor, nn

from mmfdta.datasets import make_id_targets
from mmfdta.engine.precision import FP32, PRECISIONS
from mmfdta.ops import accelerate

from ..config import read_config
from ..frame_preprocessing import FramePreprocessor, collate_frames
from ..inferencer import MOTInferencer
from ..model_loading import without_pretrained
from .checks import NotRunError

# Tracker -> config of its full and of its small model.
CONFIGS = {
    'FDTA': ('fdta_dancetrack', 'fdta-depth-attention_mini'),
    'MOTR': ('motr_dancetrack', 'motr_mini'),
    'SORT': ('sort_fdta-det_dancetrack', 'sort_fdta-det_mini'),
    'ByteTrack': ('bytetrack_yolox-x_dancetrack', 'bytetrack_yolox-x_dancetrack'),
}
_SMALL_YOLOX = {
    'model.detector.backbone.deepen_factor': 0.33,
    'model.detector.backbone.widen_factor': 0.125,
    'model.detector.neck.in_channels': [32, 64, 128],
    'model.detector.neck.out_channels': 32,
    'model.detector.neck.num_csp_blocks': 1,
    'model.detector.bbox_head.in_channels': 32,
    'model.detector.bbox_head.feat_channels': 32,
}
_COLOURS = 97
CALIBRATION = 384, 320
T = TypeVar('T')


@dataclass(frozen=True)
class Settings:
    """What is checked, and how thoroughly.

    Attributes:
        device: Such as ``cuda:0``.
        out: Folder of the report.
        quick: Small models and few runs.
        sizes: Width and height of the frames whose speed is measured.
        released: Checkout of the released code, or None.
    """

    device: str
    out: str
    quick: bool = False
    sizes: tuple[tuple[int, int], ...] = ()
    released: str | None = None

    def as_dict(self) -> dict[str, Any]:
        """Return plain values."""
        return asdict(self)

    @classmethod
    def read(cls, values: dict[str, Any]) -> 'Settings':
        """Make settings of plain values."""
        sizes = tuple((int(w), int(h)) for w, h in values['sizes'])
        return cls(**{**values, 'sizes': sizes})


class Bench:
    """The workbench of a process.

    Args:
        settings: What is checked.

    Attributes:
        settings: What is checked.
        device: Where.
        frame_size: Width and height of frames that are compared with the CPU.
        video_frames: Frames of the tracked video.
        clip_frames: Frames of a training clip that is compared with the CPU.
    """

    def __init__(self, settings: Settings) -> None:
        init_default_scope('mmdet')
        FP32.allow_tf32()
        # It says of every parameter how it was initialised.
        MMLogger.get_current_instance().setLevel(logging.ERROR)
        self.settings = settings
        self.device = torch.device(settings.device)
        largest = (192, 128) if settings.quick else (864, 480)
        sizes = [largest, *settings.sizes]
        self.frame_size = min(sizes, key=lambda size: size[0] * size[1])
        self.video_frames = 6 if settings.quick else 12
        self.clip_frames = 4 if settings.quick else 8
        self._kept: dict[str, Any] = {}

    @property
    def quick(self) -> bool:
        """Small models and few runs."""
        return self.settings.quick

    @property
    def speed_sizes(self) -> tuple[tuple[int, int], ...]:
        """Width and height of the frames whose speed is measured, largest first."""
        default = ((320, 192),) if self.quick else ((1440, 800), (864, 480))
        sizes = self.settings.sizes or default
        return tuple(sorted(sizes, key=lambda size: -size[0] * size[1]))

    def config(
        self, tracker: str = 'FDTA', size: tuple[int, int] | None = None
    ) -> Config:
        """Read the config of a tracker.

        Args:
            tracker: One of `CONFIGS`.
            size: Width and height that frames have; they are not resized then.
        """
        config = read_config(CONFIGS[tracker][self.quick])
        if tracker == 'ByteTrack' and self.quick:
            config.merge_from_dict(_SMALL_YOLOX)
        if size is not None:
            _set_frame_size(config, size)
        return config

    def model(self, tracker: str = 'FDTA') -> nn.Module:
        """Build an accelerated model on the CPU, see `liven`; without dropout."""
        seed = SEEDS[tracker]
        torch.manual_seed(seed)
        model = MODELS.build(without_pretrained(self.config(tracker).model))
        model.init_weights()
        preprocessor = FramePreprocessor(self.config(tracker, CALIBRATION))
        (frame,) = self.video(1, CALIBRATION)
        liven(model, seed, collate_frames([preprocessor(frame, 0)]))
        drop_nothing(model)
        return accelerate(model)

    def inferencer(
        self,
        tracker: str,
        size: tuple[int, int],
        device: torch.device | str | None = None,
        **options: Any,
    ) -> MOTInferencer:
        """Make a tracker with the weights of `model`.

        Args:
            tracker: One of `CONFIGS`.
            size: Width and height of the frames.
            device: None takes the one that is checked.
            **options: Of `MOTInferencer`.
        """
        config = self.config(tracker, size)
        config.model.tracker.update(THRESHOLDS[tracker])
        return MOTInferencer(
            config, self.weights(tracker), device or self.device, **options
        )

    def weights(self, tracker: str) -> Path:
        """Write the weights of `model` as a checkpoint, once in a process."""

        def write() -> Path:
            size = 'small' if self.quick else 'full'
            path = folder(self, 'weights') / f'{tracker}_{size}_{os.getpid()}.pth'
            torch.save(dict(state_dict=self.model(tracker).state_dict()), path)
            return path

        return self.remember(f'weights of {tracker}', write)

    def video(
        self, count: int | None = None, size: tuple[int, int] | None = None
    ) -> list[np.ndarray]:
        """Draw frames uint8 (H, W, 3): rectangles that move over texture.

        Args:
            count: How many; those of a video unless given.
            size: Width and height; those of a frame unless given.
        """
        width, height = size or self.frame_size
        rng = np.random.default_rng(0)
        texture = rng.integers(0, 256, (height // 8 + 1, width // 8 + 1, 3))
        texture = texture.repeat(8, 0).repeat(8, 1)[:height, :width] // 2
        corners = rng.uniform(0, 0.7, (8, 2))
        steps = rng.uniform(-0.01, 0.01, (8, 2))
        frames = []
        for t in range(count or self.video_frames):
            frame = texture.astype(np.uint8)
            for i, (x, y) in enumerate(corners + t * steps):
                left, top = int(max(0, x) * width), int(max(0, y) * height)
                colour = (_COLOURS * (i + np.arange(3))) % 256
                box = frame[top : top + height // 4, left : left + width // 8]
                box[:] = colour.astype(np.uint8)
            frames.append(frame)
        return frames

    def check_precision(self, name: str) -> None:
        """Raise `NotRunError` if the device lacks a precision."""
        try:
            PRECISIONS[name].check(self.device)
        except ValueError as error:
            raise NotRunError(str(error)) from None

    def remember(self, name: str, make: Callable[[], T]) -> T:
        """Make something once for all checks of the process."""
        if name not in self._kept:
            self._kept[name] = make()
        return self._kept[name]

    def tidy(self) -> None:
        """Give memory back, after a check."""
        gc.collect()
        if self.device.type == 'cuda':
            with contextlib.suppress(RuntimeError):  # where the device is lost
                torch.cuda.empty_cache()


# With these, weights by `liven` track some objects, and small differences change none.
SEEDS = {'FDTA': 0, 'MOTR': 0, 'SORT': 0, 'ByteTrack': 3}
THRESHOLDS: dict[str, dict[str, Any]] = {
    'FDTA': dict(det_thr=0.3, newborn_thr=0.3, id_thr=0.0),
    'MOTR': dict(newborn_thr=0.5, keep_thr=0.4, det_thr=0.4, area_thr=0.0),
    'SORT': {},
    'ByteTrack': dict(obj_score_thrs=dict(high=0.7, low=0.2), init_track_thr=0.7),
}


_CLASS_HEAD = re.compile(r'(cls_branches|multi_level_conv_(cls|obj))\.\d+$')


def liven(model: nn.Module, seed: int, data: dict[str, Any]) -> None:
    """Give a model random weights that spread its scores and boxes.

    As models are initialised all scores are nearly alike, and the slightest difference
    between two devices would change which one is the largest.

    Args:
        model: Changed in place.
        seed: Of the weights.
        data: A frame such as it gets; of it normalisation takes its statistics (as
            initialised it leaves nothing of a picture in YOLOX's deep levels), and
            class heads get logits with a deviation of 2 around -2.
    """
    draw = torch.Generator().manual_seed(seed)
    heads = {n: m for n, m in model.named_modules() if _CLASS_HEAD.search(n)}
    for name, parameter in model.named_parameters():
        if 'multi_level_conv_reg' in name:
            parameter.data.mul_(0.1)  # boxes about as large as a cell
        # Such as box heads and sampling offsets, which start at zero.
        elif parameter.dim() > 1 and not parameter.any():
            values = torch.randn(parameter.shape, generator=draw)
            parameter.data.copy_(values * 0.5 / parameter[0].numel() ** 0.5)
    for head in heads.values():
        values = torch.randn(head.weight.shape, generator=draw)
        head.weight.data.copy_(values / head.weight[0].numel() ** 0.5)
        head.bias.data.zero_()

    def spread(head: nn.Module, inputs: object, logits: Tensor) -> Tensor:
        scale = 2.0 / float(logits.std())
        shift = -2.0 - scale * float(logits.mean())
        head.weight.data.mul_(scale)
        head.bias.data.fill_(shift)
        return logits * scale + shift

    model.eval()
    norms = [m for m in model.modules() if isinstance(m, nn.BatchNorm2d)]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.train()
        norm.momentum = 1.0
    hooks = [head.register_forward_hook(spread) for head in heads.values()]
    with torch.no_grad():
        model.test_step(data)
    for hook in hooks:
        hook.remove()
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
    model.train()


def drop_nothing(model: nn.Module) -> None:
    """Take all dropout out: each device draws numbers of its own."""
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
        elif isinstance(getattr(module, 'dropout', None), float):
            module.dropout = 0.0


def _set_frame_size(config: Config, size: tuple[int, int]) -> None:
    """Make the test pipeline keep frames of a size as they are."""
    loader = config.test_dataloader

    def walk(steps: list) -> Iterator[dict]:
        for step in steps:
            yield step
            yield from walk(step.get('transforms', []))

    for step in walk(loader.dataset.pipeline):
        if step['type'] == 'ClipResize':
            step.update(short=min(size), max_long=max(size))


# ------------------------------------------------------------------------------ clips
def make_clip(
    frames: int,
    size: tuple[int, int],
    objects: int,
    words: int,
    groups: int = 6,
    seed: int = 0,
) -> dict[str, Any]:
    """Make a training sample as the data pipeline packs it; objects in every frame.

    Args:
        frames: T.
        size: Width and height.
        objects: In each frame.
        words: ID words of the model.
        groups: Groups of ID targets.
        seed: Of everything in it.

    Returns:
        ``inputs`` with ``img`` (T, 3, H, W) and ``depth`` (T, 1, H, W), uint8, and
        ``data_samples``.
    """
    draw = torch.Generator().manual_seed(seed)
    width, height = size
    scale = torch.tensor([width, height, width, height])
    sample = TrackDataSample()
    shown = []
    for t in range(frames):
        shape = dict(img_shape=(height, width), ori_shape=(height, width))
        frame = DetDataSample(metainfo=dict(shape, frame_id=t, img_id=t))
        corner = torch.rand(objects, 2, generator=draw) * 0.6
        extent = 0.1 + 0.3 * torch.rand(objects, 2, generator=draw)
        frame.gt_instances = InstanceData(
            bboxes=torch.cat([corner, corner + extent], dim=1) * scale,
            labels=torch.zeros(objects, dtype=torch.int64),
            instances_ids=torch.arange(objects),
        )
        shown.append(frame)
    sample.video_data_samples = shown
    ids, rng = [np.arange(objects)] * frames, np.random.default_rng(seed)
    targets = vars(make_id_targets(ids, groups, words, words, 0.5, 0.5, rng))
    fields = {k: torch.from_numpy(v) for k, v in targets.items() if k != 'column_ids'}
    sample.id_targets = [BaseDataElement(**fields)]

    def pixels(channels: int) -> Tensor:
        shape = frames, channels, height, width
        return torch.randint(0, 256, shape, generator=draw, dtype=torch.uint8)

    return dict(inputs=dict(img=pixels(3), depth=pixels(1)), data_samples=sample)


def collate(*clips: dict[str, Any]) -> dict[str, Any]:
    """Batch clips as MMEngine's ``pseudo_collate`` does; they are copied."""
    clips = copy.deepcopy(clips)
    inputs = {key: [c['inputs'][key] for c in clips] for key in clips[0]['inputs']}
    return dict(inputs=inputs, data_samples=[c['data_samples'] for c in clips])


def folder(bench: Bench, name: str) -> Path:
    """Make a folder for what a check writes, next to the report."""
    path = Path(bench.settings.out, 'files', name)
    path.mkdir(parents=True, exist_ok=True)
    return path
