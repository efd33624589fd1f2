# StrongSORT (arXiv 2202.13514) as MMDetection has it, with the values of MMDetection's
# configs/strongsort; docs/baselines.md says where they differ from the paper. To
# compensate camera motion it reads every frame; model.tracker.cmc=None does without.
tracker = dict(
    type='OnlineStrongSORTTracker',
    motion=dict(type='KalmanFilter', center_only=False, use_nsa=True),
    obj_score_thr=0.6,
    reid=dict(num_samples=None, match_score_thr=0.3, motion_weight=0.02),
    match_iou_thr=0.7,
    momentums=dict(embeds=0.1),
    num_tentatives=2,
    num_frames_retain=100,
    cmc=dict(type='CameraMotionCompensation', num_iters=100, stop_eps=1e-5),
)
