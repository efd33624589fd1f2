# FDTA on MMDetection's DINO with ResNet-50, on SportsMOT; starts from DINO of COCO, see
# docs/any_detector.md. Not trained at full size yet: no score is known.
_base_ = [
    './_base_/models/fdta_dino_r50.py',
    './_base_/datasets/sportsmot.py',
    './_base_/schedules/query_detector_13e.py',
    './_base_/default_runtime.py',
]

# As fdta_sportsmot.py.
model = dict(
    detector=dict(loss_depth=dict(fg_weight=7.0)),
    id_decoder=dict(with_cp=True),
    window=60,
)
param_scheduler = _base_.param_scheduler
param_scheduler[1].milestones = [8, 12]

load_from = 'dino-r50'
default_hooks = dict(checkpoint=dict(save_best='mot/HOTA'))
