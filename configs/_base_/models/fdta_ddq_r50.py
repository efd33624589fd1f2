# FDTA on MMDetection's DDQ with ResNet-50; the rest is that of fdta_r50.py.
_base_ = ['./fdta_r50.py', './ddq_r50.py']

replaced = _base_.detector
detector = dict(
    _delete_=True,
    type='QueryDetector',
    host=_base_.host,
    matcher=replaced.bbox_head.matcher,
    spatial_adapter=replaced.spatial_adapter,
    loss_depth=replaced.bbox_head.loss_depth,
)
model = dict(detector=dict(detector))
