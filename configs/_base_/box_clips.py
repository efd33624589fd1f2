# Clips of boxes from ground-truth text, for association on boxes alone: no image is
# opened. A config sets the numbers of GenerateIDTargets.
box_train_pipeline = [
    dict(type='OpenBoxes'),
    dict(type='ClipRandomFlip', prob=0.5),
    dict(type='SimulateDetections'),
    dict(type='GenerateIDTargets'),
    dict(type='PackClipInputs'),
]
box_test_pipeline = [dict(type='OpenBoxes'), dict(type='PackClipInputs')]
