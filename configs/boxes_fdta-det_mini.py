# FDTA's association on the boxes of FDTA's detector, without its embeddings. Takes a
# checkpoint of boxes_mini.py; detector_checkpoint names one of fdta_mini.py.
_base_ = ['./fdta_mini.py', './_base_/models/box_fdta_small.py']

model = dict(
    _base_.association,
    _delete_=True,
    data_preprocessor=_base_.model.data_preprocessor,
    detector=_base_.model.detector,
)
# The name of published weights, or a path.
detector_checkpoint = 'minidance'

train_dataloader = None
train_cfg = None
optim_wrapper = None
param_scheduler = None
