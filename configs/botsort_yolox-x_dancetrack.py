# BoT-SORT with the YOLOX-x that the authors of DanceTrack, ByteTrack or OC-SORT trained
# on DanceTrack (docs/benchmark.md). MMDetection's configs train YOLOX.
_base_ = [
    './_base_/models/yolox_x.py',
    './_base_/datasets/dancetrack.py',
    './_base_/trackers/botsort.py',
    './_base_/default_runtime.py',
]

model = dict(tracker=_base_.tracker)
train_dataloader = None
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
