# The plain detector on single frames, as MOTIP's released code fine-tunes it: 20
# epochs, x0.1 at epoch 15, no warm-up. 8 GPUs with two frames each.
_base_ = ['./fdta_13e.py']

max_epochs = 20
train_cfg = dict(max_epochs=max_epochs, val_interval=5)
optim_wrapper = dict(clip_groups=dict(_delete_=True))
param_scheduler = [
    dict(type='MultiStepLR', by_epoch=True, end=max_epochs, milestones=[15], gamma=0.1)
]

# Frames per step: --num_processes=8 of MOTIP's docs/GET_STARTED.md and BATCH_SIZE 2.
auto_scale_lr = dict(base_batch_size=16)
