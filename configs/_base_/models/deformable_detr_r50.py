# The plain detector of fdta_r50.py: no depth branch, single frames.
_base_ = ['./fdta_r50.py']

detector = _base_.detector
detector.spatial_adapter = None
detector.bbox_head.loss_depth = None
detector.data_preprocessor = dict(
    _base_.model.data_preprocessor, type='DetDataPreprocessor', bgr_to_rgb=True
)
model = dict(_delete_=True, **detector)
