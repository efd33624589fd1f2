# The host of fdta_ddq_r50.py: DDQ with ResNet-50, as MMDetection trains it
# (configs/ddq/ddq-detr-4scale_r50_8xb2-12e_coco.py), for one class: DINO whose queries
# are dense and made distinct layer by layer.
_base_ = ['./dino_r50.py']

host = dict(
    type='DDQDETR',
    dense_topk_ratio=1.5,
    dqs_cfg=dict(type='nms', iou_threshold=0.8),
    bbox_head=dict(type='DDQDETRHead'),
)
