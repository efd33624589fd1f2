# BoT-SORT on the second halves of MOT17, with the YOLOX-x of ByteTrack's
# ablation, which has seen the first halves and CrowdHuman (docs/benchmark.md).
_base_ = [
    './_base_/models/yolox_x.py',
    './_base_/datasets/mot17.py',
    './_base_/trackers/botsort.py',
    './_base_/default_runtime.py',
]

model = dict(tracker=_base_.tracker)
train_dataloader = None
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
