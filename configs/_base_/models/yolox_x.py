# YOLOX-x with one class, as ByteTrack's, OC-SORT's and DanceTrack's authors publish
# it: trained on RGB images normalised with ImageNet's mean and deviation, padded with
# grey. Their files are taken as they are. MMDetection's own
# files want model.data_preprocessor=dict(mean=[0, 0, 0], std=[1, 1, 1], bgr=True).
norm = dict(type='BN', momentum=0.03, eps=0.001)
activation = dict(type='Swish')

detector = dict(
    type='YOLOX',
    backbone=dict(
        type='CSPDarknet',
        deepen_factor=1.33,
        widen_factor=1.25,
        out_indices=(2, 3, 4),
        use_depthwise=False,
        spp_kernal_sizes=(5, 9, 13),
        norm_cfg=norm,
        act_cfg=activation,
    ),
    neck=dict(
        type='YOLOXPAFPN',
        in_channels=[320, 640, 1280],
        out_channels=320,
        num_csp_blocks=4,
        use_depthwise=False,
        upsample_cfg=dict(scale_factor=2, mode='nearest'),
        norm_cfg=norm,
        act_cfg=activation,
    ),
    bbox_head=dict(
        type='YOLOXHead',
        num_classes=1,
        in_channels=320,
        feat_channels=320,
        stacked_convs=2,
        strides=(8, 16, 32),
        use_depthwise=False,
        norm_cfg=norm,
        act_cfg=activation,
    ),
    # The authors' exps/example/mot/yolox_x_mix_det.py and yolox_dancetrack_val.py.
    test_cfg=dict(score_thr=0.1, nms=dict(type='nms', iou_threshold=0.7)),
)
model = dict(
    type='TrackingByDetection',
    data_preprocessor=dict(
        type='ClipDataPreprocessor',
        mean=[123.675, 116.28, 103.53],
        std=[58.395, 57.12, 57.375],
        pad_size_divisor=32,
        pad_value=114,
    ),
    detector=detector,
)
