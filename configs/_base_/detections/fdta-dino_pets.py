# FDTA's detector on DINO, on PETS09-S2L1, for trackers that take boxes. What is based
# on it adds the tracker, and trains nothing.
_base_ = ['../../fdta_dino-r50_pets.py']

model = dict(
    _delete_=True,
    type='TrackingByDetection',
    data_preprocessor=_base_.model.data_preprocessor,
    detector=_base_.model.detector,
)
# The rest of FDTA's checkpoint is not needed.
checkpoint_modules = ['detector']

train_dataloader = None
train_cfg = None
optim_wrapper = None
param_scheduler = None
