# A small tracker on FDTA's detections; docs/add_a_tracker.md explains it.
_base_ = ['./_base_/detections/fdta-det_mini.py']

model = dict(tracker=dict(type='IoUEmbeddingTracker', miss_tolerance=15))
