# YOLOX-nano of COCO's person alone: of a head for all classes this one is kept.
_base_ = ['./yolox_nano_coco.py']

model = dict(detector=dict(bbox_head=dict(num_classes=1)))
