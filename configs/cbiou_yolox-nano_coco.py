# C-BIoU on YOLOX-nano, the smallest: for slow machines. Trained on COCO by the
# authors of YOLOX (MMDetection publishes none of this size).
_base_ = [
    './_base_/models/yolox_nano_coco.py',
    './_base_/datasets/coco_videos.py',
    './_base_/trackers/cbiou.py',
    './_base_/default_runtime.py',
]

model = dict(tracker=_base_.tracker)
checkpoint = 'yolox-nano'
test_cfg = dict(type='TestLoop')
