# FDTA's association on the boxes that YOLOX-nano of COCO finds in PETS09-S2L1. Takes a
# checkpoint of boxes_pets.py.
_base_ = [
    './_base_/models/yolox_nano_person.py',
    './_base_/models/box_fdta_small.py',
    './_base_/datasets/pets.py',
    './_base_/default_runtime.py',
]

model = dict(
    _base_.association,
    _delete_=True,
    data_preprocessor=_base_.model.data_preprocessor,
    detector=_base_.model.detector,
    # Above det_thr boxes_pets.py was set to what the detector finds. newborn_thr was
    # chosen on the first half.
    tracker=dict(_base_.association.tracker, det_thr=0.5, newborn_thr=0.6),
)
# The name of published weights, or a path.
detector_checkpoint = 'yolox-nano'
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
