# A small tracker on FDTA's detections of PETS09-S2L1; docs/add_a_tracker.md explains
# it.
_base_ = ['./_base_/detections/fdta-det_pets.py']

model = dict(tracker=dict(type='IoUEmbeddingTracker', miss_tolerance=15))
