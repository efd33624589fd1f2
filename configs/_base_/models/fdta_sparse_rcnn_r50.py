# FDTA on MMDetection's Sparse R-CNN with ResNet-50; the rest is that of fdta_r50.py.
_base_ = ['./fdta_r50.py', './sparse_rcnn_r50.py']

replaced = _base_.detector
detector = dict(
    _delete_=True,
    type='QueryDetector',
    host=_base_.host,
    interface=dict(type='SparseRCNNInterface'),
    matcher=replaced.bbox_head.matcher,
    # Strides 8, 16 and 32; the neck gives stride 4 first.
    spatial_adapter=dict(replaced.spatial_adapter, first_level=1),
    loss_depth=replaced.bbox_head.loss_depth,
)
# The neck adds coarse levels to finer ones: multiples of 32, as MMDetection pads.
model = dict(data_preprocessor=dict(pad_size_divisor=32), detector=dict(detector))
