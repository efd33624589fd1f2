# Copyright (c) mmfdta authors.
"""Export trackers to ONNX, and check that what was exported tracks the same."""

import importlib.util

from mmfdta.utils.environment import prepare_mmdet

for _name in ('onnx', 'onnxscript', 'onnxruntime'):
    if importlib.util.find_spec(_name) is None:
        raise ImportError(
            f'exporting needs {_name}, which is not installed: pip install '
            "'mmfdta[export]'"
        )
prepare_mmdet()

from .detector_graph import DetectorGraph
from .exporting import ExportReport, export_model
from .graphs import AssociationGraph, detector_graph
from .onnx_files import OPSET, operators, save_onnx, to_onnx

__all__ = [
    'OPSET',
    'AssociationGraph',
    'DetectorGraph',
    'ExportReport',
    'detector_graph',
    'export_model',
    'operators',
    'save_onnx',
    'to_onnx',
]
