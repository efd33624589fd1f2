# C-BIoU on FDTA's detections, so that association alone is compared.
# Takes the detector out of a checkpoint of fdta_dancetrack.py.
_base_ = [
    './_base_/detections/fdta-det_dancetrack.py',
    './_base_/trackers/cbiou.py',
]

model = dict(tracker=_base_.tracker)
