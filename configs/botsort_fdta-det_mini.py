# BoT-SORT on FDTA's detections, so that association alone is compared.
# Takes the detector out of a checkpoint of fdta_mini.py.
_base_ = ['./_base_/detections/fdta-det_mini.py', './_base_/trackers/botsort.py']

model = dict(tracker=_base_.tracker)
