# C-BIoU (arXiv 2211.14317) as the package `trackers` has it (extra `trackers`), with
# the values of the package; the authors have published no code. It is not quite the
# published method: it has BoT-SORT's steps and Kalman filter, without the motion of the
# camera, and boxes that grow by 0.3 of their sides in the first step and by 0.5 in the
# second. The paper predicts with the mean motion of some frames, and matches what
# is left of the same detections again with the larger buffer.
tracker = dict(
    type='LibraryTracker',
    name='cbiou',
    score_thr=0.1,
    high_conf_det_threshold=0.6,
    track_activation_threshold=0.7,
    minimum_iou_threshold_first_assoc=0.2,
    minimum_iou_threshold_second_assoc=0.5,
    minimum_iou_threshold_unconfirmed_assoc=0.3,
    minimum_consecutive_frames=2,
    lost_track_buffer=30,
    buffer_ratio_first=0.3,
    buffer_ratio_second=0.5,
)
