# YOLOX-x for the 80 classes of COCO, as MMDetection (configs/yolox) and Megvii from
# their release 0.1.1 on train it: blue first, 0..255 without normalisation, padded with
# grey. The weights of both fit. One box per object, whatever its class: a van is not a
# car and a truck at once.
_base_ = ['./yolox_x.py']

model = dict(
    data_preprocessor=dict(mean=[0, 0, 0], std=[1, 1, 1], bgr=True),
    detector=dict(
        bbox_head=dict(num_classes=80),
        test_cfg=dict(
            score_thr=0.01, nms=dict(iou_threshold=0.65, class_agnostic=True)
        ),
    ),
)
