# SORT on FDTA's detections, so that association alone is compared.
# Takes the detector out of a checkpoint of fdta_mini.py.
# DeepSORT is the name of MMDetection's class; without ReID it is SORT.
_base_ = ['./_base_/detections/fdta_mini.py', './_base_/trackers/sort.py']

model = dict(type='DeepSORT', tracker=_base_.tracker)
