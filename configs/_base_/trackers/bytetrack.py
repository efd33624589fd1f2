# ByteTrack (arXiv 2110.06864) as MMDetection has it. The values are those of the
# authors' code (ifzhang/ByteTrack: tools/track.py, yolox/tracker/byte_tracker.py:
# track_thresh 0.6, new tracks from 0.7 on, distances of at most 0.9, 0.5 and 0.7,
# track_buffer 30) and of MMDetection's configs/bytetrack; an IoU here is one minus a
# distance there.
tracker = dict(
    type='ByteTracker',
    motion=dict(type='KalmanFilter'),
    obj_score_thrs=dict(high=0.6, low=0.1),
    init_track_thr=0.7,
    weight_iou_with_det_scores=True,
    match_iou_thrs=dict(high=0.1, low=0.5, tentative=0.3),
    num_frames_retain=30,
)
