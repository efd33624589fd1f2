# FDTA on MMDetection's DINO with Swin-L; the rest is that of fdta_r50.py.
_base_ = ['./fdta_r50.py', './dino_swin-l.py']

replaced = _base_.detector
detector = dict(
    _delete_=True,
    type='QueryDetector',
    host=_base_.host,
    matcher=replaced.bbox_head.matcher,
    # Strides 8, 16 and 32, as with ResNet-50.
    spatial_adapter=dict(replaced.spatial_adapter, first_level=1),
    loss_depth=replaced.bbox_head.loss_depth,
)
model = dict(
    detector=dict(detector),
    clip_detection=dict(grad_chunk=1, no_grad_chunk=2),
)
