# DeepSORT on FDTA's detections, whose embeddings it compares.
# Takes the detector out of a checkpoint of fdta_mini.py.
_base_ = ['./_base_/detections/fdta-det_mini.py', './_base_/trackers/deepsort.py']

model = dict(tracker=_base_.tracker)
