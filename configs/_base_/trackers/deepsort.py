# DeepSORT (arXiv 1703.07402) as MMDetection has it, with the values of MMDetection's
# configs/deepsort; docs/baselines.md says where they differ from the paper.
tracker = dict(
    type='DeepSORTTracker',
    motion=dict(type='KalmanFilter', center_only=False),
    obj_score_thr=0.5,
    reid=dict(num_samples=10, match_score_thr=2.0),
    match_iou_thr=0.5,
    momentums=None,
    num_tentatives=2,
    num_frames_retain=100,
)
