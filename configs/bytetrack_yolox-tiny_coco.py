# ByteTrack on YOLOX-tiny: what `mmfdta track VIDEO` tracks with. Trained on COCO by
# MMDetection.
_base_ = [
    './_base_/models/yolox_tiny_coco.py',
    './_base_/datasets/coco_videos.py',
    './_base_/trackers/bytetrack.py',
    './_base_/default_runtime.py',
]

model = dict(tracker=_base_.tracker)
checkpoint = 'yolox-tiny'
test_cfg = dict(type='TestLoop')
