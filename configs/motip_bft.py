# MOTIP on BFT: FDTA without its adapters (published: HOTA 70.5 on test).
# Start from a detector: --cfg-options load_from=PATH, see docs/checkpoints.md.
_base_ = ['./fdta_bft.py', './_base_/models/motip.py']

model = _base_.without_adapters
optim_wrapper = dict(clip_groups=dict(_delete_=True, detector='detector.'))

train_pipeline = [t for t in _base_.train_pipeline if t['type'] != 'LoadClipDepth']
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))

# Clips per step: --num_processes=8 of MOTIP's docs/GET_STARTED.md and BATCH_SIZE 1.
auto_scale_lr = dict(base_batch_size=8)
