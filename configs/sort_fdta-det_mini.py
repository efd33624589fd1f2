# SORT on FDTA's detections, so that association alone is compared.
# Takes the detector out of a checkpoint of fdta_mini.py.
# DeepSORT is the name of MMDetection's class; without ReID it is SORT.
_base_ = ['./fdta_mini.py', './_base_/trackers/sort.py']

model = dict(
    _delete_=True,
    type='DeepSORT',
    data_preprocessor=dict(
        _base_.model.data_preprocessor, type='TrackerDataPreprocessor'
    ),
    detector=_base_.model.detector,
    tracker=_base_.tracker,
)
checkpoint_modules = ['detector']

train_dataloader = None
train_cfg = None
optim_wrapper = None
param_scheduler = None
