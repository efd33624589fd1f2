# FDTA on MMDetection's DINO with ResNet-50, on DanceTrack; starts from DINO of COCO,
# see docs/any_detector.md. Not trained at full size yet: no score is known.
_base_ = [
    './_base_/models/fdta_dino_r50.py',
    './_base_/datasets/dancetrack.py',
    './_base_/schedules/query_detector_13e.py',
    './_base_/default_runtime.py',
]

load_from = 'dino-r50'
default_hooks = dict(checkpoint=dict(save_best='mot/HOTA'))
