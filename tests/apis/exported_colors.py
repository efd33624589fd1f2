# Copyright (c) mmfdta authors.
"""Exported models that find coloured rectangles, written operator by operator.

They need neither PyTorch nor an export, and what they find can be told from a frame.
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
from mmfdta.runtime.frame_input import FrameInput, ResizeRule
from mmfdta.runtime.trackers import resolved_settings

OPSET = 18
NUM_WORDS = 6
CLASSES = ('red', 'green', 'blue')
NEAR = 60.0


class Graph:
    """Collects nodes and constants."""

    def __init__(self) -> None:
        self.nodes, self.constants = [], []

    def __call__(self, kind: str, *inputs, **attributes) -> str:
        """Add a node; return the name of its output."""
        names = [x if isinstance(x, str) else self.constant(x) for x in inputs]
        output = attributes.pop('to_name', f'{kind}{len(self.nodes)}')
        self.nodes.append(helper.make_node(kind, names, [output], **attributes))
        return output

    def constant(self, value) -> str:
        name = f'constant{len(self.constants)}'
        self.constants.append(numpy_helper.from_array(np.asarray(value), name))
        return name

    def save(self, path: Path, inputs: dict, outputs: dict) -> None:
        """Write a graph whose inputs and outputs are of these types and ranks."""
        sides = [
            [
                helper.make_tensor_value_info(name, kind, [f'{name}{i}' for i in dims])
                for name, (kind, dims) in side.items()
            ]
            for side in (inputs, outputs)
        ]
        graph = helper.make_graph(self.nodes, 'graph', *sides, self.constants)
        opsets = [helper.make_opsetid('', OPSET)]
        model = helper.make_model(graph, opset_imports=opsets, ir_version=8)
        onnx.checker.check_model(model)
        onnx.save(model, path)


FLOAT, INT, BYTE = TensorProto.FLOAT, TensorProto.INT64, TensorProto.UINT8


def write_detector(path: Path, colors, queries: bool, sized: bool) -> None:
    """A detector with one box for each colour: score 0.9 if it is there, else 0."""
    graph = Graph()
    wanted = np.array(colors, np.float32).reshape(1, 3, 3, 1, 1)
    pixels = graph('Unsqueeze', graph('Cast', 'frames', to=FLOAT), [1])
    distance = graph('ReduceMax', graph('Abs', graph('Sub', pixels, wanted)), [2])
    distance = graph('Squeeze', distance, [2])
    near = graph('Cast', graph('Less', distance, np.float32(NEAR)), to=FLOAT)
    sides = {}
    for name, other in (('x', 2), ('y', 3)):
        line = graph('ReduceMax', near, [other], keepdims=0)
        for end, last in (('low', 0), ('high', 1)):
            place = graph('ArgMax', line, axis=2, keepdims=1, select_last_index=last)
            place = graph('Cast', place, to=FLOAT)
            sides[name, end] = graph('Add', place, np.float32(last))
    present = graph('ReduceMax', near, [2, 3], keepdims=0)
    graph('Mul', present, np.float32(0.9), to_name='scores')
    labels = graph('Sub', np.array([[0, 1, 2]]), np.array([[0, 0, 0]]))
    graph('Expand', labels, graph('Shape', 'scores'), to_name='labels')
    outputs = dict(
        boxes=(FLOAT, range(3)), scores=(FLOAT, range(2)), labels=(INT, range(2))
    )
    inputs = dict(frames=(BYTE, range(4)))
    if queries:
        if sized:
            inputs['sizes'] = (INT, range(2))
            sizes = graph('Cast', 'sizes', to=FLOAT)
        else:
            size = graph('Slice', graph('Shape', 'frames'), [2], [4])
            sizes = graph('Unsqueeze', graph('Cast', size, to=FLOAT), [0])
        size = {
            'y': graph('Unsqueeze', graph('Gather', sizes, [0], axis=1), [2]),
            'x': graph('Unsqueeze', graph('Gather', sizes, [1], axis=1), [2]),
        }
        columns = []
        for combine, factor in (('Add', 0.5), ('Sub', 1.0)):
            for name in ('x', 'y'):
                column = graph(combine, sides[name, 'high'], sides[name, 'low'])
                column = graph('Mul', column, np.float32(factor))
                columns.append(graph('Div', column, size[name]))
        # An embedding says the colour.
        eye = np.eye(3, 4, dtype=np.float32)[None]
        rows = graph('Unsqueeze', graph('Mul', 'scores', np.float32(0)), [2])
        graph('Add', rows, eye, to_name='embeddings')
        outputs['embeddings'] = (FLOAT, range(3))
    else:
        order = ('low', 'low', 'high', 'high')
        columns = [sides[n, end] for n, end in zip('xyxy', order, strict=True)]
    graph('Concat', *columns, axis=2, to_name='boxes')
    graph.save(path, inputs, outputs)


def write_association(path: Path) -> None:
    """A word's score is 0.8 where an embedding is like one of its trajectory."""
    graph = Graph()
    turned = graph('Transpose', 'features', perm=[0, 2, 1])
    alike = graph('MatMul', 'embeddings', turned)  # (T, n, N)
    seen = graph('Cast', graph('Not', 'missing'), to=FLOAT)
    alike = graph('Mul', alike, graph('Unsqueeze', seen, [1]))
    best = graph('ReduceMax', alike, [0], keepdims=0)
    values = np.array([0, 0.8], np.float32)
    columns = graph('OneHot', 'words', np.array(NUM_WORDS + 1), values, axis=-1)
    newborn = np.zeros((1, NUM_WORDS + 1), np.float32)
    newborn[0, -1] = 0.1
    graph('Add', graph('MatMul', best, columns), newborn, to_name='scores')
    inputs = dict(
        features=(FLOAT, range(3)),
        missing=(TensorProto.BOOL, range(2)),
        words=(INT, range(1)),
        embeddings=(FLOAT, range(2)),
    )
    graph.save(path, inputs, dict(scores=(FLOAT, range(2))))


def write_model(
    folder: Path,
    colors,
    queries: bool = False,
    short: int = 120,
    size: tuple[int, int] | None = None,
    score_thr: float = 0.1,
) -> Path:
    """Write a whole folder.

    Args:
        folder: Where to.
        colors: RGB of the three classes.
        queries: With the detections of queries and FDTA's tracker, else as of YOLOX
            and with ByteTrack.
        short: Short side of the resized frames.
        size: Width and height that frames are padded to.
        score_thr: Detections of YOLOX below it are left out.
    """
    folder.mkdir(parents=True)
    detector, association = folder / 'detector.onnx', folder / 'association.onnx'
    write_detector(detector, colors, queries, sized=size is not None)
    rule = ResizeRule('short-side', short=short, max_long=1440)
    padding = {} if queries else dict(pad_divisor=32, pad_value=114)
    values = dict(
        config='colors',
        checkpoint=None,
        precision='fp32',
        classes=CLASSES,
        column_numbers=(1, 2, 3),
        input=FrameInput(resize=rule, size=size, **padding),
        detector=DetectorFile(
            kind='yolox',
            test_cfg=dict(score_thr=score_thr, nms=dict(type='nms', iou_threshold=0.7)),
            **GraphFile.describe(detector),
        ),
        association=None,
        tracker=resolved_settings(BYTE_TRACK),
        opset=OPSET,
        versions=dict(onnx=onnx.__version__),
    )
    if queries:
        write_association(association)
        values |= dict(
            detector=DetectorFile(kind='queries', **GraphFile.describe(detector)),
            association=AssociationFile(
                embed_dims=4,
                num_id_vocabulary=NUM_WORDS,
                window=5,
                **GraphFile.describe(association),
            ),
            tracker=resolved_settings(FDTA),
        )
    ExportedModel(**values).save(folder)
    return folder


BYTE_TRACK = dict(
    type='ByteTracker',
    motion=dict(type='KalmanFilter'),
    obj_score_thrs=dict(high=0.6, low=0.1),
    init_track_thr=0.7,
    weight_iou_with_det_scores=True,
    match_iou_thrs=dict(high=0.1, low=0.5, tentative=0.3),
    num_frames_retain=30,
)
FDTA = dict(
    type='FDTATracker',
    num_id_vocabulary=NUM_WORDS,
    miss_tolerance=5,
    embed_dims=4,
)
