# QDTrack (arXiv 2006.06664) of MMDetection on the second halves of MOT17, with the
# weights of its model zoo, whose backbone takes BGR images (docs/baselines.md).
_base_ = [
    './_base_/models/faster_rcnn_r50.py',
    './_base_/datasets/mot17_second_halves.py',
    './_base_/default_runtime.py',
]

model = dict(
    type='QDTrack',
    data_preprocessor=dict(
        type='TrackerDataPreprocessor',
        mean=[103.530, 116.280, 123.675],
        std=[1.0, 1.0, 1.0],
        bgr=True,
    ),
    detector=dict(backbone=dict(norm_cfg=dict(requires_grad=False), style='caffe')),
    track_head=dict(
        type='QuasiDenseTrackHead',
        roi_extractor=dict(
            type='SingleRoIExtractor',
            roi_layer=dict(type='RoIAlign', output_size=7, sampling_ratio=0),
            out_channels=256,
            featmap_strides=[4, 8, 16, 32],
        ),
        embed_head=dict(
            type='QuasiDenseEmbedHead',
            num_convs=4,
            num_fcs=1,
            embed_channels=256,
            norm_cfg=dict(type='GN', num_groups=32),
            loss_track=dict(type='MultiPosCrossEntropyLoss', loss_weight=0.25),
            loss_track_aux=dict(
                type='MarginL2Loss',
                neg_pos_ub=3,
                pos_margin=0,
                neg_margin=0.1,
                hard_mining=True,
                loss_weight=1.0,
            ),
        ),
    ),
    tracker=dict(
        type='QuasiDenseTracker',
        init_score_thr=0.9,
        obj_score_thr=0.5,
        match_score_thr=0.5,
        memo_tracklet_frames=30,
        memo_backdrop_frames=1,
        memo_momentum=0.8,
        nms_conf_thr=0.5,
        nms_backdrop_iou_thr=0.3,
        nms_class_iou_thr=0.7,
        with_cats=True,
        match_metric='bisoftmax',
    ),
)
checkpoint = 'qdtrack-mot17'
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
