# YOLOX-nano for people: of a head for all classes of COCO, the person is kept.
_base_ = ['./yolox_nano_coco.py']

model = dict(detector=dict(bbox_head=dict(num_classes=1)))
