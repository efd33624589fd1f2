# ByteTrack on YOLOX-s, between tiny and x. Trained on COCO by MMDetection.
_base_ = [
    './_base_/models/yolox_s_coco.py',
    './_base_/datasets/coco_videos.py',
    './_base_/trackers/bytetrack.py',
    './_base_/default_runtime.py',
]

model = dict(tracker=_base_.tracker)
checkpoint = 'yolox-s'
test_cfg = dict(type='TestLoop')
