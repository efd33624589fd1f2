# MOTIP on MMDetection's DINO with ResNet-50, on DanceTrack: fdta_dino-r50_dancetrack.py
# without its adapters. Not trained at full size yet: no score is known.
_base_ = ['./fdta_dino-r50_dancetrack.py', './_base_/models/motip.py']

model = _base_.without_adapters_on_host
optim_wrapper = dict(clip_groups=dict(_delete_=True, detector='detector.'))

train_pipeline = [t for t in _base_.train_pipeline if t['type'] != 'LoadClipDepth']
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))

# As motip_dancetrack.py.
max_epochs = 10
train_cfg = dict(max_epochs=max_epochs)
param_scheduler = _base_.param_scheduler
param_scheduler[1].end = max_epochs
auto_scale_lr = dict(base_batch_size=8)
