# OC-SORT (arXiv 2203.14360) as MMDetection has it, with the values of MMDetection's
# configs/ocsort. In the authors' code (noahcao/OC_SORT: utils/args.py) iou_thresh 0.3,
# min_hits 3, inertia 0.2, deltat 3 and track_buffer 30 are the same; they take
# detections from 0.6 on, also for new tracks, where MMDetection takes 0.3 and 0.7.
tracker = dict(
    type='OCSORTTracker',
    motion=dict(type='KalmanFilter'),
    obj_score_thr=0.3,
    init_track_thr=0.7,
    weight_iou_with_det_scores=True,
    match_iou_thr=0.3,
    num_tentatives=3,
    vel_consist_weight=0.2,
    vel_delta_t=3,
    num_frames_retain=30,
)
