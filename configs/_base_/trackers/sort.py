# SORT (arXiv 1602.00763) as MMDetection has it, with the values of MMDetection's
# configs/sort. It is not quite the published method: MMDetection predicts with the
# Kalman filter but matches with each track's last box, and only tracks that were seen
# in the frame before.
tracker = dict(
    type='SORTTracker',
    motion=dict(type='KalmanFilter', center_only=False),
    obj_score_thr=0.5,
    match_iou_thr=0.5,
    reid=None,
)
