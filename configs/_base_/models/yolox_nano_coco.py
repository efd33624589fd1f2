# YOLOX-nano for the 80 classes of COCO: separable convolutions.
_base_ = ['./yolox_s_coco.py']

model = dict(
    detector=dict(
        backbone=dict(widen_factor=0.25, use_depthwise=True),
        neck=dict(in_channels=[64, 128, 256], out_channels=64, use_depthwise=True),
        bbox_head=dict(in_channels=64, feat_channels=64, use_depthwise=True),
    )
)
