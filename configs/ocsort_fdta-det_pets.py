# OC-SORT on FDTA's detections of PETS09-S2L1, so that association alone is compared.
# Takes the detector out of a checkpoint of fdta_pets.py.
_base_ = ['./_base_/detections/fdta-det_pets.py', './_base_/trackers/ocsort.py']

model = dict(tracker=_base_.tracker)
