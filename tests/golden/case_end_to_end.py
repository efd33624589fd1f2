# Copyright (c) mmfdta authors.
"""Golden case ``end_to_end``: frames on disk to tracks."""

import tempfile
from pathlib import Path

import numpy as np
import torch
from case_models import build_model, load_config
from mmdet.registry import DATASETS
from mmengine.config import Config
from PIL import Image

from mmfdta.models import FDTA

PROTOCOLS = ('object-max', 'hungarian', 'id-max')


def write_sequence(frames: np.ndarray, root: Path, name: str = 'seq') -> None:
    """Write frames (T, H, W, 3) RGB as a sequence of the split ``val``."""
    folder = root / 'val' / name / 'img1'
    folder.mkdir(parents=True)
    for i, frame in enumerate(frames, start=1):
        Image.fromarray(frame).save(folder / f'{i:08d}.png')
    folder.with_name('seqinfo.ini').write_text(
        f'[Sequence]\nname={name}\nimDir=img1\nframeRate=20\nseqLength={len(frames)}\n'
        f'imWidth={frames.shape[2]}\nimHeight={frames.shape[1]}\nimExt=.png\n'
    )


def test_dataset(cfg: Config, root: Path, settings: dict):
    """The config's test data set, with root and sizes of the case."""
    dataset = cfg.test_dataloader.dataset
    dataset.update(data_root=str(root), split='val')
    steps = [t for step in dataset.pipeline for t in step.get('transforms', [step])]
    resize = next(t for t in steps if t.type == 'ClipResize')
    resize.update(short=settings['max_shorter'], max_long=settings['max_longer'])
    return DATASETS.build(dataset)


test_dataset.__test__ = False


@torch.no_grad()
def _track(model: FDTA, dataset, found: list, outputs: dict) -> np.ndarray:
    """Track; ``found`` has what the detector found in each frame, or gets it."""
    rows = []
    detect = model.detector.detect

    def detect_once(*args):
        if t == len(found):
            found.append(detect(*args))
        return found[t]

    model.detector.detect = detect_once
    for t in range(len(dataset)):
        sample = dataset[t]
        batch = dict(
            inputs={k: [v] for k, v in sample['inputs'].items()},
            data_samples=[sample['data_samples']],
        )
        batch = model.data_preprocessor(batch)
        outputs.setdefault('network_input_frame0', batch['inputs']['img'][0].numpy())
        tracks = model(**batch, mode='predict')[0][0].pred_track_instances
        xywh = tracks.bboxes.double()
        xywh[:, 2:] -= xywh[:, :2]
        frame = torch.full((len(xywh), 1), t + 1.0, dtype=torch.float64)
        rows.append(torch.cat([frame, tracks.instances_id[:, None], xywh], dim=1))
    model.detector.detect = detect
    return torch.cat(rows).numpy()


def run_end_to_end(inputs: dict, settings: dict, seed: int) -> dict[str, np.ndarray]:
    """Write the frames, read them through the test pipeline and track."""
    model = build_model(settings['cfg'], seed).eval()
    outputs: dict[str, np.ndarray] = {}
    found: list = []  # which does not depend on the protocol
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        write_sequence(np.asarray(inputs['frames']), root)
        dataset = test_dataset(load_config(settings['cfg']), root, settings)
        for protocol in PROTOCOLS:
            model.tracker.protocol = protocol
            name = f'tracks_{protocol.replace("-", "_")}'
            outputs[name] = _track(model, dataset, found, outputs)
    outputs['pred_logits'] = np.stack([f.cls_scores[-1, 0, :, 0] for f in found])
    outputs['pred_boxes'] = np.stack([f.bbox_preds[-1, 0] for f in found])
    shape = outputs['network_input_frame0'].shape
    outputs['network_input_shape'] = np.array(shape)
    return outputs
