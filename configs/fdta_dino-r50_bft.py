# FDTA on MMDetection's DINO with ResNet-50, on BFT (birds); starts from DINO of COCO,
# see docs/any_detector.md. Not trained at full size yet: no score is known.
_base_ = [
    './_base_/models/fdta_dino_r50.py',
    './_base_/datasets/bft.py',
    './_base_/schedules/query_detector_13e.py',
    './_base_/default_runtime.py',
]

# As fdta_bft.py.
model = dict(
    detector=dict(spatial_adapter=dict(num_bins=120), loss_depth=dict(fg_weight=10.0)),
    window=20,
)
max_epochs = 22
train_cfg = dict(max_epochs=max_epochs)
param_scheduler = _base_.param_scheduler
param_scheduler[0].end = 2
param_scheduler[1].update(end=max_epochs, milestones=[16, 20])

load_from = 'dino-r50'
default_hooks = dict(checkpoint=dict(save_best='mot/HOTA'))
