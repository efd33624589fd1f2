# A small tracker on FDTA's detections; docs/add_a_tracker.md explains it.
# ByteTrack is the name of MMDetection's loop: detect in a frame, then ask the tracker.
_base_ = ['./fdta_mini.py']

model = dict(
    _delete_=True,
    type='ByteTrack',
    data_preprocessor=dict(
        _base_.model.data_preprocessor, type='TrackerDataPreprocessor'
    ),
    detector=_base_.model.detector,
    tracker=dict(type='IoUEmbeddingTracker', miss_tolerance=15),
)
# The rest of FDTA's checkpoint is not needed.
checkpoint_modules = ['detector']

train_dataloader = None
train_cfg = None
optim_wrapper = None
param_scheduler = None
