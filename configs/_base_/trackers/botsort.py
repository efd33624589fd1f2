# BoT-SORT (arXiv 2206.14651) without re-identification, as the package `trackers`
# has it (extra `trackers`). The values are those of the package and the authors' code
# (NirAharon/BoT-SORT: tools/track.py: track_high_thresh 0.6, track_low_thresh 0.1,
# new_track_thresh 0.7, track_buffer 30, match_thresh 0.8; tracker/bot_sort.py: at most
# 0.5 in the second step and 0.7 for new tracks; tracker/gmc.py: sparseOptFlow at half
# size); an IoU here is one minus a distance there. The authors read the motion of the
# camera on MOT17 from files; here it is estimated.
tracker = dict(
    type='LibraryTracker',
    name='botsort',
    score_thr=0.1,
    high_conf_det_threshold=0.6,
    track_activation_threshold=0.7,
    minimum_iou_threshold_first_assoc=0.2,
    minimum_iou_threshold_second_assoc=0.5,
    minimum_iou_threshold_unconfirmed_assoc=0.3,
    minimum_consecutive_frames=2,
    lost_track_buffer=30,
    enable_cmc=True,
    cmc_method='sparseOptFlow',
    cmc_downscale=2,
)
