# MOTR for a CPU: motr_r50.py, small, and trained from a small detector.
_base_ = ['./motr_r50.py', './mini_sizes.py']

model = dict(
    detector=_base_.detector_sizes,
    query_interaction=dict(num_heads=4, feedforward_channels=128),
    tracker=dict(newborn_thr=0.5, keep_thr=0.4, det_thr=0.5, area_thr=0.0),
    encode_chunk=0,
    with_cp=False,
)
