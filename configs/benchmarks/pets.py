# Trackers on the second half of PETS09-S2L1, with the same detections of YOLOX-nano, at
# published settings and at those that `mmfdta tune` found on the first half.
# `mmfdta benchmark benchmarks/pets`; see docs/benchmark.md.
data = 'test'

entries = [
    dict(name='ByteTrack', config='bytetrack_yolox-nano_pets'),
    dict(name='OC-SORT', config='ocsort_yolox-nano_pets'),
    dict(name='BoT-SORT', config='botsort_yolox-nano_pets'),
    dict(name='C-BIoU', config='cbiou_yolox-nano_pets'),
    dict(name='SORT', config='sort_yolox-nano_pets'),
    dict(name='ByteTrack with gallery', config='bytetrack-gallery_yolox-nano_pets'),
    dict(
        name='OC-SORT (tuned)',
        config='ocsort_yolox-nano_pets',
        cfg_options={
            'model.tracker.obj_score_thr': 0.6,
            'model.tracker.init_track_thr': 0.5,
            'model.tracker.vel_consist_weight': 0.4,
            'model.tracker.num_frames_retain': 15,
        },
    ),
    dict(
        name='BoT-SORT (tuned)',
        config='botsort_yolox-nano_pets',
        cfg_options={
            'model.tracker.track_activation_threshold': 0.6,
            'model.tracker.minimum_iou_threshold_unconfirmed_assoc': 0.1,
            'model.tracker.lost_track_buffer': 15,
        },
    ),
    dict(
        name='SORT (tuned)',
        config='sort_yolox-nano_pets',
        cfg_options={
            'model.tracker.obj_score_thr': 0.6,
            'model.tracker.match_iou_thr': 0.1,
            'model.tracker.num_tentatives': 2,
        },
    ),
]
