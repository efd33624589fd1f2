# BoT-SORT on PETS09-S2L1, with the people that YOLOX-nano of COCO finds.
_base_ = [
    './_base_/models/yolox_nano_person.py',
    './_base_/datasets/pets.py',
    './_base_/trackers/botsort.py',
    './_base_/default_runtime.py',
]

model = dict(tracker=_base_.tracker)
checkpoint = 'yolox-nano'
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
