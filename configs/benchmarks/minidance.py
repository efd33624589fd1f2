# The trackers of this project on MiniDance's test split, at published settings and
# at those that `mmfdta tune` found on val.
# `mmfdta benchmark benchmarks/minidance`; see docs/benchmark.md.
data = 'test'
checkpoint_dir = 'work_dirs/demo_train'

entries = [
    dict(name='FDTA', config='fdta_mini', checkpoint='fdta.pth'),
    dict(name='MOTIP', config='motip_mini', checkpoint='motip.pth'),
    dict(name='MOTR', config='motr_mini', checkpoint='motr.pth'),
    dict(name='ByteTrack', config='bytetrack_fdta-det_mini', checkpoint='fdta.pth'),
    dict(name='OC-SORT', config='ocsort_fdta-det_mini', checkpoint='fdta.pth'),
    dict(name='BoT-SORT', config='botsort_fdta-det_mini', checkpoint='fdta.pth'),
    dict(name='C-BIoU', config='cbiou_fdta-det_mini', checkpoint='fdta.pth'),
    dict(
        name='IoU and embedding',
        config='iou-embedding_fdta-det_mini',
        checkpoint='fdta.pth',
    ),
    dict(name='SORT', config='sort_fdta-det_mini', checkpoint='fdta.pth'),
    dict(name='FDTA with gallery', config='fdta-gallery_mini', checkpoint='fdta.pth'),
    dict(
        name='Boxes',
        config='boxes_fdta-det_mini',
        checkpoint='boxes.pth',
        detector_checkpoint='fdta.pth',
    ),
    dict(
        name='Boxes and embeddings',
        config='boxes-looks_fdta-det_mini',
        checkpoint='boxes-looks.pth',
    ),
    dict(
        name='FDTA (tuned)',
        config='fdta_mini',
        checkpoint='fdta.pth',
        cfg_options={
            'model.tracker.newborn_thr': 0.8,
            'model.tracker.id_thr': 0.15,
            'model.tracker.protocol': 'id-max',
        },
    ),
    dict(
        name='ByteTrack (tuned)',
        config='bytetrack_fdta-det_mini',
        checkpoint='fdta.pth',
        cfg_options={
            'model.tracker.obj_score_thrs.low': 0.2,
            'model.tracker.init_track_thr': 0.4,
            'model.tracker.match_iou_thrs.high': 0.05,
            'model.tracker.match_iou_thrs.low': 0.3,
            'model.tracker.weight_iou_with_det_scores': False,
            'model.tracker.num_frames_retain': 10,
        },
    ),
    dict(
        name='BoT-SORT (tuned)',
        config='botsort_fdta-det_mini',
        checkpoint='fdta.pth',
        cfg_options={
            'model.tracker.high_conf_det_threshold': 0.7,
            'model.tracker.track_activation_threshold': 0.4,
            'model.tracker.minimum_iou_threshold_first_assoc': 0.1,
            'model.tracker.minimum_iou_threshold_second_assoc': 0.3,
            'model.tracker.minimum_iou_threshold_unconfirmed_assoc': 0.1,
            'model.tracker.minimum_consecutive_frames': 3,
            'model.tracker.lost_track_buffer': 45,
            'model.tracker.enable_cmc': False,
        },
    ),
    dict(
        name='C-BIoU (tuned)',
        config='cbiou_fdta-det_mini',
        checkpoint='fdta.pth',
        cfg_options={
            'model.tracker.high_conf_det_threshold': 0.7,
            'model.tracker.track_activation_threshold': 0.4,
            'model.tracker.minimum_iou_threshold_first_assoc': 0.05,
            'model.tracker.minimum_consecutive_frames': 3,
            'model.tracker.lost_track_buffer': 45,
            'model.tracker.buffer_ratio_first': 0.1,
            'model.tracker.buffer_ratio_second': 0.3,
        },
    ),
    dict(
        name='IoU and embedding (tuned)',
        config='iou-embedding_fdta-det_mini',
        checkpoint='fdta.pth',
        cfg_options={
            'model.tracker.score_thr': 0.4,
            'model.tracker.newborn_thr': 0.7,
            'model.tracker.match_thr': 0.6,
            'model.tracker.weight': 0.2,
            'model.tracker.miss_tolerance': 45,
        },
    ),
    dict(
        name='SORT (tuned)',
        config='sort_fdta-det_mini',
        checkpoint='fdta.pth',
        cfg_options={
            'model.tracker.obj_score_thr': 0.4,
            'model.tracker.match_iou_thr': 0.05,
        },
    ),
    dict(
        name='FDTA with gallery (tuned)',
        config='fdta-gallery_mini',
        checkpoint='fdta.pth',
        cfg_options={
            'model.tracker.threshold': 0.92,
            'model.tracker.tracker.newborn_thr': 0.8,
            'model.tracker.tracker.id_thr': 0.15,
            'model.tracker.tracker.protocol': 'id-max',
        },
    ),
    dict(
        name='Boxes (tuned)',
        config='boxes_fdta-det_mini',
        checkpoint='boxes.pth',
        detector_checkpoint='fdta.pth',
        cfg_options={
            'model.tracker.det_thr': 0.4,
            'model.tracker.newborn_thr': 0.6,
            'model.tracker.id_thr': 0.15,
            'model.tracker.protocol': 'id-max',
        },
    ),
]
