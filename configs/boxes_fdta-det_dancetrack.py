# FDTA's association on the boxes of FDTA's detector, on DanceTrack. Takes a checkpoint
# of boxes_dancetrack.py; detector_checkpoint names one of fdta_dancetrack.py.
_base_ = ['./fdta_dancetrack.py', './_base_/models/box_fdta.py']

model = dict(
    _base_.association,
    _delete_=True,
    data_preprocessor=_base_.model.data_preprocessor,
    detector=_base_.model.detector,
)
detector_checkpoint = 'checkpoints/dancetrack/fdta.pth'

train_dataloader = None
train_cfg = None
optim_wrapper = None
param_scheduler = None
