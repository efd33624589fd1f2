# FDTA on MMDetection's DDQ with ResNet-50, on DanceTrack; starts from DDQ of COCO, see
# docs/any_detector.md. Not trained at full size yet: no score is known.
_base_ = [
    './_base_/models/fdta_ddq_r50.py',
    './_base_/datasets/dancetrack.py',
    './_base_/schedules/query_detector_13e.py',
    './_base_/default_runtime.py',
]

load_from = 'ddq-r50'
default_hooks = dict(checkpoint=dict(save_best='mot/HOTA'))
