# Copyright (c) mmfdta authors.
"""Run the released FDTA on a CPU or a GPU, to compare this project with it.

Its checkout (github.com/Spongebobbbbbbbb/FDTA) is never changed. What it imports and
does not need here is replaced before: torchvision (a ResNet-50 with the same layers
takes the place of its own) and accelerate. Where its operator of deformable attention
cannot be imported, its own PyTorch path takes its place. einops has to be installed.
"""

import importlib
import importlib.abc
import importlib.machinery
import sys
import types
from pathlib import Path
from typing import Any

import torch
import yaml
from mmdet.structures import TrackDataSample
from mmdet.structures.bbox import bbox_xyxy_to_cxcywh
from torch import Tensor, nn

REPLACED = ('torchvision', 'accelerate', 'tensorboard', 'panopticapi')
OPERATOR = 'MultiScaleDeformableAttention'


class _Anything(types.ModuleType):
    """A module with every name; what is called returns its first argument."""

    __path__: list[str] = []

    def __getattr__(self, name: str) -> object:
        if name.startswith('__'):
            raise AttributeError(name)
        return type(name, (), {})


class _Finder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Answers for modules that are not needed here."""

    def find_spec(
        self, name: str, path: Any, target: Any = None
    ) -> importlib.machinery.ModuleSpec | None:
        missing = name.split('.')[0] in (*REPLACED, OPERATOR)
        if missing or name == 'torch.utils.tensorboard':
            return importlib.machinery.ModuleSpec(name, self, is_package=True)
        return None

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> types.ModuleType:
        return _Anything(spec.name)

    def exec_module(self, module: types.ModuleType) -> None:
        """Nothing is run."""


class _State:
    """One process on one device."""

    distributed_type = 'NO'
    num_processes, process_index = 1, 0
    is_main_process = is_local_main_process = True
    device = torch.device('cpu')
    on_main_process = on_local_main_process = staticmethod(lambda function: function)


class _Bottleneck(nn.Module):
    def __init__(self, inputs: int, width: int, stride: int, norm: type) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, width, 1, bias=False)
        self.bn1 = norm(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride, 1, bias=False)
        self.bn2 = norm(width)
        self.conv3 = nn.Conv2d(width, 4 * width, 1, bias=False)
        self.bn3 = norm(4 * width)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = None
        if stride > 1 or inputs != 4 * width:
            self.downsample = nn.Sequential(
                nn.Conv2d(inputs, 4 * width, 1, stride, bias=False), norm(4 * width)
            )

    def forward(self, x: Tensor) -> Tensor:
        out = self.relu(self.bn1(self.conv1(x)))
        out = self.relu(self.bn2(self.conv2(out)))
        out = self.bn3(self.conv3(out))
        return self.relu(out + (x if self.downsample is None else self.downsample(x)))


def _resnet50(norm_layer: type, **_: object) -> nn.Module:
    """ResNet-50 with torchvision's names."""
    net = nn.Module()
    net.conv1 = nn.Conv2d(3, 64, 7, 2, 3, bias=False)
    net.bn1, net.relu = norm_layer(64), nn.ReLU(inplace=True)
    net.maxpool = nn.MaxPool2d(3, 2, 1)
    inputs = 64
    for i, (width, blocks) in enumerate(((64, 3), (128, 4), (256, 6), (512, 3))):
        layers = []
        for block in range(blocks):
            stride = 2 if i and not block else 1
            layers.append(_Bottleneck(inputs, width, stride, norm_layer))
            inputs = 4 * width
        net.add_module(f'layer{i + 1}', nn.Sequential(*layers))
    return net


class _Levels(nn.ModuleDict):
    """torchvision's `IntermediateLayerGetter`."""

    def __init__(self, model: nn.Module, return_layers: dict[str, str]) -> None:
        super().__init__(dict(model.named_children()))
        self.return_layers = return_layers

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        levels = {}
        for name, module in self.items():
            x = module(x)
            if name in self.return_layers:
                levels[self.return_layers[name]] = x
        return levels


class _CPUTorch(types.ModuleType):
    """`torch` for a module that names the GPU."""

    def __getattr__(self, name: str) -> object:
        return getattr(torch, name)

    @staticmethod
    def tensor(data: object, **kwargs: object) -> Tensor:
        kwargs.pop('device', None)
        return torch.tensor(data, **kwargs)


class _OnCPU:
    """What `torch.cuda` is asked for."""

    current_device = staticmethod(lambda: torch.device('cpu'))


def _module(name: str) -> Any:
    """Import a module, whose names are then replaced."""
    return importlib.import_module(name)


class Released:
    """The released code, imported from a checkout.

    Args:
        checkout: Its root.
        device: Where it runs.
        operator: Folder with its compiled operator; None: it has none.

    Attributes:
        config: Of its model on DanceTrack.
    """

    def __init__(
        self,
        checkout: Path,
        device: str | torch.device = 'cpu',
        operator: Path | None = None,
    ) -> None:
        self._on_cpu = torch.device(device).type == 'cpu'
        _State.device = torch.device(device)
        if operator is not None:
            sys.path.insert(0, str(operator))
        sys.path.insert(0, str(checkout))
        sys.meta_path.append(_Finder())
        accelerate = _module('accelerate')
        for module in (accelerate, _module('accelerate.state')):
            module.PartialState = _State
        accelerate.DistributedType = types.SimpleNamespace(NO='NO')
        models = _module('torchvision.models')
        models.resnet50 = _resnet50
        models.ResNet50_Weights = types.SimpleNamespace(IMAGENET1K_V2=None)
        _module('torchvision').models = models
        utilities = _module('torchvision.models._utils')
        utilities.IntermediateLayerGetter = _Levels
        boxes = _module('torchvision.ops.boxes')
        boxes.box_area = lambda b: (b[:, 2] - b[:, 0]) * (b[:, 3] - b[:, 1])
        if operator is None:
            self._use_plain_operator()
        self.config = yaml.safe_load((checkout / 'configs/dancetrack.yaml').read_text())
        self.config.update(
            DEVICE=str(device), DEPTH_MIN=float(self.config['DEPTH_MIN'])
        )

    def load(self, name: str) -> Any:
        """Import a module of the checkout."""
        module = _module(name)
        if self._on_cpu and name.endswith(
            ('deformable_detr.deformable_detr', 'ddn_loss')
        ):
            module.torch = _CPUTorch('torch')
            module.torch.cuda = _OnCPU
        return module

    def _use_plain_operator(self) -> None:
        functions = self.load('models.ops.functions.ms_deform_attn_func')

        class Plain:
            """The checkout's PyTorch path as the compiled operator."""

            @staticmethod
            def apply(
                value: Tensor, shapes: Tensor, _: Tensor, *args: object
            ) -> Tensor:
                return functions.ms_deform_attn_core_pytorch(value, shapes, *args[:2])

        modules = self.load('models.ops.modules.ms_deform_attn')
        modules.MSDeformAttnFunction = Plain

    def build(self) -> tuple[nn.Module, nn.Module]:
        """Build model and detection criterion with random weights."""
        self.load('models.deformable_detr.deformable_detr')
        self.load('models.Spatial_Adapter.ddn_loss.ddn_loss')
        torch.manual_seed(0)
        return self.load('models.fdta').build(self.config)


def as_annotations(
    clip: TrackDataSample, device: str | torch.device = 'cpu'
) -> list[dict[str, Tensor]]:
    """Return the annotations of a clip's frames, as the released code takes them.

    Args:
        clip: With ``gt_instances`` and ``id_targets``.
        device: Where they go.
    """
    targets = clip.id_targets[0]
    annotations = []
    for t, frame in enumerate(clip):
        height, width = frame.img_shape
        scale = torch.tensor([width, height, width, height])
        truth = frame.gt_instances
        annotation = dict(
            bbox=bbox_xyxy_to_cxcywh(truth.bboxes / scale),
            category=truth.labels,
            id=truth.instances_ids,
        )
        for side in ('trajectory', 'unknown'):
            for name in ('id_labels', 'id_masks', 'ann_idxs'):
                field = targets.get(f'{side}_{name}')
                annotation[f'{side}_{name}'] = field[:, t : t + 1]
            shape = field[:, t : t + 1].shape
            annotation[f'{side}_times'] = torch.full(shape, t)
        annotations.append({k: v.to(device) for k, v in annotation.items()})
    return annotations
