# Test side of the plain detectors: MMDetection's steps on single frames, with the
# released code's resizing; tta_model and tta_pipeline are for `test --tta`.
load_frame = [
    # The annotations ignore the orientation in EXIF, as clips do.
    dict(type='LoadImageFromFile', color_type='color_ignore_orientation'),
    dict(type='Resize', scale=(1440, 800), keep_ratio=True, backend='pillow'),
    dict(type='LoadAnnotations', with_bbox=True),
]
pack_frame = dict(
    type='PackDetInputs',
    meta_keys=(
        *('img_id', 'img_path', 'ori_shape', 'img_shape', 'scale_factor'),
        *('flip', 'flip_direction', 'instances'),
    ),
)
frame_pipeline = [*load_frame, pack_frame]

tta_model = dict(
    type='DetTTAModel',
    tta_cfg=dict(nms=dict(type='nms', iou_threshold=0.5), max_per_img=100),
)
tta_pipeline = [
    *load_frame,
    dict(
        type='TestTimeAug',
        transforms=[
            [dict(type='RandomFlip', prob=1.0), dict(type='RandomFlip', prob=0.0)],
            [pack_frame],
        ],
    ),
]
