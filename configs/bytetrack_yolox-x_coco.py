# ByteTrack on YOLOX-x, the most accurate: `mmfdta track VIDEO --preset accurate`.
# Trained on COCO by MMDetection.
_base_ = [
    './_base_/models/yolox_x_coco.py',
    './_base_/datasets/coco_videos.py',
    './_base_/trackers/bytetrack.py',
    './_base_/default_runtime.py',
]

test_dataloader = _base_.test_dataloader
test_dataloader.dataset.pipeline[0].transforms[1].update(short=1088, max_long=1088)

model = dict(tracker=_base_.tracker)
checkpoint = 'yolox-x'
test_cfg = dict(type='TestLoop')
