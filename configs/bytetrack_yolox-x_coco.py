# ByteTrack on YOLOX-x, the most accurate: `mmfdta track VIDEO --preset accurate`.
# Trained on COCO by MMDetection.
_base_ = [
    './_base_/models/yolox_x_coco.py',
    './_base_/datasets/coco_videos.py',
    './_base_/trackers/bytetrack.py',
    './_base_/default_runtime.py',
]

model = dict(tracker=_base_.tracker)
checkpoint = 'yolox-x'
test_cfg = dict(type='TestLoop')
