# Copyright (c) mmfdta authors.
"""An exported folder of two toy networks: a frame's pixels say what is detected in it.

Nothing has to be trained or exported, and any sequence of detections can be played.
"""

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from mmfdta.runtime.exported_model import (
    AssociationFile,
    DetectorFile,
    ExportedModel,
    GraphFile,
)
from mmfdta.runtime.frame_input import FrameInput

QUERIES, CHANNELS, WORDS, WINDOW = 10, 6, 5, 6
CLASSES = ('person', 'dog')
# Columns of a frame, whose rows are the queries; in its first channel.
BOX, SCORE, LABEL, EMBEDDING = 0, 4, 5, 6
SHAPE = (QUERIES, EMBEDDING + CHANNELS)


def _save(path: Path, nodes: list, inputs: list, outputs: list, constants: dict):
    graph = helper.make_graph(
        nodes,
        path.stem,
        [helper.make_tensor_value_info(*one) for one in inputs],
        [helper.make_tensor_value_info(*one) for one in outputs],
        [numpy_helper.from_array(np.array(v), n) for n, v in constants.items()],
    )
    opset = helper.make_opsetid('', 18)
    model = helper.make_model(graph, opset_imports=[opset], ir_version=8)
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, path)


def _detector(path: Path) -> None:
    float_, int_ = TensorProto.FLOAT, TensorProto.INT64
    node = helper.make_node
    bounds = [BOX, SCORE, LABEL, EMBEDDING, SHAPE[1]]
    parts = ['boxes', 'score', 'label', 'embedding']
    constants = {f'b{i}': np.array([b]) for i, b in enumerate(bounds)}
    constants |= dict(
        zero=np.array([0]),
        one=np.array([1]),
        channel=np.array([1]),
        axis=np.array([2]),
        last=np.array([-1]),
        full=np.float32(255),
        half=np.float32(128),
        many=np.array(len(CLASSES)),
    )
    nodes = [
        node('Cast', ['frames'], ['levels'], to=float_),
        node('Slice', ['levels', 'zero', 'one', 'channel'], ['first']),
        node('Squeeze', ['first', 'channel'], ['table']),
    ]
    for i, name in enumerate(parts):
        nodes.append(
            node('Slice', ['table', f'b{i}', f'b{i + 1}', 'axis'], [f'{name}_'])
        )
    nodes += [
        node('Div', ['boxes_', 'full'], ['boxes']),
        node('Squeeze', ['score_', 'last'], ['score_levels']),
        node('Div', ['score_levels', 'full'], ['scores']),
        node('Squeeze', ['label_', 'last'], ['label_levels']),
        node('Cast', ['label_levels'], ['label_numbers'], to=int_),
        node('Mod', ['label_numbers', 'many'], ['labels']),
        node('Sub', ['embedding_', 'half'], ['centred']),
        node('Div', ['centred', 'half'], ['embeddings']),
    ]
    outputs = [
        ('boxes', float_, ['F', 'Q', 4]),
        ('scores', float_, ['F', 'Q']),
        ('labels', int_, ['F', 'Q']),
        ('embeddings', float_, ['F', 'Q', CHANNELS]),
    ]
    inputs = [('frames', TensorProto.UINT8, ['F', 3, 'H', 'W'])]
    _save(path, nodes, inputs, outputs, constants)


def _association(path: Path) -> None:
    """Likeness to the mean embedding of each trajectory, as scores of its word."""
    float_, int_ = TensorProto.FLOAT, TensorProto.INT64
    node = helper.make_node
    constants = dict(
        one=np.float32(1),
        time=np.array([0]),
        last=np.array([1]),
        deep=np.array([2]),
        words_end=np.array([WORDS]),
        sharpness=np.float32(6),
        width=np.array([WORDS + 1]),
        low=np.array([-1.0], np.float32),
        newborn=np.array([[2.0]], np.float32),
    )
    nodes = [
        node('Cast', ['missing'], ['absent'], to=float_),
        node('Sub', ['one', 'absent'], ['present']),
        node('ReduceSum', ['present', 'time'], ['count'], keepdims=0),
        node('Unsqueeze', ['present', 'deep'], ['present_']),
        node('Mul', ['features', 'present_'], ['kept']),
        node('ReduceSum', ['kept', 'time'], ['sum'], keepdims=0),
        node('Unsqueeze', ['count', 'last'], ['count_']),
        node('Div', ['sum', 'count_'], ['mean']),
        node('Transpose', ['mean'], ['mean_']),
        node('MatMul', ['embeddings', 'mean_'], ['likeness']),
        node('Mul', ['likeness', 'sharpness'], ['updates']),
        node('Shape', ['likeness'], ['shape']),
        node('Expand', ['words', 'shape'], ['places']),
        node('Shape', ['embeddings'], ['sizes']),
        node('Slice', ['sizes', 'time', 'last', 'time'], ['number']),
        node('Concat', ['number', 'width'], ['table'], axis=0),
        node('Expand', ['low', 'table'], ['blank']),
        node('ScatterElements', ['blank', 'places', 'updates'], ['filled'], axis=1),
        node('Concat', ['number', 'last'], ['column'], axis=0),
        node('Expand', ['newborn', 'column'], ['births']),
        node('Slice', ['filled', 'time', 'words_end', 'last'], ['of_words']),
        node('Concat', ['of_words', 'births'], ['logits'], axis=1),
        node('Softmax', ['logits'], ['scores'], axis=1),
    ]
    inputs = [
        ('features', float_, ['T', 'N', CHANNELS]),
        ('missing', TensorProto.BOOL, ['T', 'N']),
        ('words', int_, ['N']),
        ('embeddings', float_, ['n', CHANNELS]),
    ]
    _save(path, nodes, inputs, [('scores', float_, ['n', WORDS + 1])], constants)


def make_toy_model(folder: Path, **settings) -> Path:
    """Write the folder.

    Args:
        folder: Made anew.
        **settings: Of the tracker.
    """
    folder.mkdir(parents=True)
    _detector(folder / 'detector.onnx')
    _association(folder / 'association.onnx')
    tracker = dict(
        type='FDTATracker',
        num_id_vocabulary=WORDS,
        miss_tolerance=WINDOW,
        embed_dims=CHANNELS,
        det_thr=0.3,
        newborn_thr=0.5,
        id_thr=0.2,
        area_thr=0.0,
        protocol='object-max',
        overflow='drop',
        class_aware=False,
    )
    ExportedModel(
        config='toy',
        checkpoint=None,
        precision='fp32',
        classes=CLASSES,
        column_numbers=(1, 17),
        input=FrameInput(),
        detector=DetectorFile(
            kind='queries', **GraphFile.describe(folder / 'detector.onnx')
        ),
        association=AssociationFile(
            embed_dims=CHANNELS,
            num_id_vocabulary=WORDS,
            window=WINDOW,
            **GraphFile.describe(folder / 'association.onnx'),
        ),
        tracker=tracker | settings,
        opset=18,
        versions={},
    ).save(folder)
    return folder


def play(rng: np.random.Generator, frames: int, objects: int) -> list[np.ndarray]:
    """Frames uint8 (H, W, 3) BGR of objects that come, go and look alike.

    Args:
        rng: Draws everything.
        frames: How many.
        objects: Of which each frame shows some, more than there are words at times.
    """
    looks = rng.integers(0, 256, (objects, CHANNELS))
    classes = rng.integers(0, len(CLASSES), objects)
    clip = []
    for number in range(frames):
        frame = rng.integers(0, 256, (*SHAPE, 3), dtype=np.uint8)
        table = frame[:, :, 2]  # red
        table[:, SCORE] = rng.integers(0, 70, QUERIES)  # below the threshold
        shown = rng.permutation(objects)[: rng.integers(0, QUERIES + 1)]
        if number % 17 < 3:
            shown = shown[:0]  # for as long as some are remembered
        for row, which in zip(rng.permutation(QUERIES), shown, strict=False):
            table[row, BOX : BOX + 4] = rng.integers(20, 200, 4)
            table[row, SCORE] = rng.choice([90, 127, 128, 129, 200, 255])
            table[row, LABEL] = classes[which]
            near = looks[which] + rng.integers(-12, 13, CHANNELS)
            table[row, EMBEDDING:] = near.clip(0, 255)
        clip.append(frame)
    return clip
