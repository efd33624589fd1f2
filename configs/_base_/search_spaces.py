# What `mmfdta tune` tries for each tracker: values by argument of its class. Every
# tracker gets the same budget, so its space has what its authors name as settings, and
# values on both sides of the published ones. A name with dots reaches into an argument:
# 'obj_score_thrs.high'. LibraryTracker has a space for each of its trackers, by its
# name; what is tried of a tracker around another, such as GalleryTracker, is its space
# and that of the other. A config with `search`, in this form, has its own.
_scores = [0.2, 0.3, 0.4, 0.5, 0.6, 0.7]
_births = [0.3, 0.4, 0.5, 0.6, 0.7, 0.8]
_overlaps = [0.05, 0.1, 0.2, 0.3, 0.4, 0.5]
_retained = [10, 15, 20, 30, 45, 60]
_retained_long = [30, 60, 100, 150]
_botsort = {
    'high_conf_det_threshold': _scores,
    'track_activation_threshold': _births,
    'minimum_iou_threshold_first_assoc': _overlaps,
    'minimum_iou_threshold_second_assoc': [0.3, 0.4, 0.5],
    'minimum_iou_threshold_unconfirmed_assoc': [0.1, 0.2, 0.3],
    'minimum_consecutive_frames': [1, 2, 3],
    'lost_track_buffer': _retained,
}

search_spaces = {
    'FDTATracker': {
        'det_thr': _scores,
        'newborn_thr': _births,
        'id_thr': [0.05, 0.1, 0.15, 0.2, 0.3, 0.4],
        'protocol': ['object-max', 'hungarian', 'id-max'],
    },
    'IoUEmbeddingTracker': {
        'score_thr': _scores,
        'newborn_thr': _births,
        'match_thr': [0.3, 0.4, 0.5, 0.6, 0.7],
        'weight': [0.2, 0.35, 0.5, 0.65, 0.8],
        'momentum': [0.5, 0.8, 0.9],
        'miss_tolerance': _retained,
    },
    'ByteTracker': {
        'obj_score_thrs.high': _scores,
        'obj_score_thrs.low': [0.1, 0.2],
        'init_track_thr': _births,
        'match_iou_thrs.high': [0.01, 0.05, 0.1, 0.2, 0.3],
        'match_iou_thrs.low': [0.3, 0.4, 0.5],
        'match_iou_thrs.tentative': [0.1, 0.2, 0.3],
        'weight_iou_with_det_scores': [True, False],
        'num_frames_retain': _retained,
    },
    'OCSORTTracker': {
        'obj_score_thr': _scores,
        'init_track_thr': _births,
        'match_iou_thr': _overlaps,
        'weight_iou_with_det_scores': [True, False],
        'vel_consist_weight': [0.0, 0.1, 0.2, 0.4],
        'vel_delta_t': [1, 2, 3, 5],
        'num_tentatives': [1, 2, 3],
        'num_frames_retain': _retained,
    },
    'DeepSORTTracker': {
        'obj_score_thr': _scores,
        'reid.num_samples': [1, 10, 100],
        'reid.match_score_thr': [0.5, 1.0, 2.0, 4.0, 8.0],
        'match_iou_thr': _overlaps,
        'num_tentatives': [1, 2, 3],
        'num_frames_retain': _retained_long,
    },
    'OnlineStrongSORTTracker': {
        'obj_score_thr': _scores,
        'reid.match_score_thr': [0.05, 0.1, 0.2, 0.3, 0.5],
        'reid.motion_weight': [0.0, 0.02, 0.1],
        'momentums.embeds': [0.05, 0.1, 0.3],
        'match_iou_thr': [*_overlaps, 0.7],
        'num_tentatives': [1, 2, 3],
        'num_frames_retain': _retained_long,
    },
    'SORTTracker': {
        'obj_score_thr': _scores,
        'match_iou_thr': _overlaps,
        'num_tentatives': [1, 2, 3],
    },
    # Cosines of FDTA's embeddings, and of pooled maps, which are all alike.
    'GalleryTracker': {
        'threshold': [0.4, 0.5, 0.6, 0.7, 0.8, 0.84, 0.88, 0.92],
        'min_quality': [0.0, 0.15, 0.3, 0.45, 0.6],
    },
    'LibraryTracker:botsort': {**_botsort, 'enable_cmc': [True, False]},
    'LibraryTracker:cbiou': {
        **_botsort,
        'buffer_ratio_first': [0.1, 0.2, 0.3, 0.4],
        'buffer_ratio_second': [0.3, 0.4, 0.5, 0.7],
    },
}
