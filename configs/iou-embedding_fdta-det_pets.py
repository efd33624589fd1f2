# A small tracker on FDTA's detections of PETS09-S2L1 (docs/add_a_tracker.md).
# Takes the detector out of a checkpoint of fdta_pets.py.
_base_ = ['./_base_/detections/fdta-det_pets.py']

model = dict(tracker=dict(type='IoUEmbeddingTracker', miss_tolerance=15))
