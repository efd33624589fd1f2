# A small tracker on FDTA's detections; docs/add_a_tracker.md explains it.
# ByteTrack is the name of MMDetection's loop: detect in a frame, then ask the tracker.
_base_ = ['./_base_/detections/fdta_mini.py']

model = dict(
    type='ByteTrack',
    tracker=dict(type='IoUEmbeddingTracker', miss_tolerance=15),
)
