# C-BIoU on the detections of FDTA on DINO, so that association alone is compared.
# Takes the detector out of a checkpoint of fdta_dino-r50_mini.py.
_base_ = ['./_base_/detections/fdta-dino_mini.py', './_base_/trackers/cbiou.py']

model = dict(tracker=_base_.tracker)
