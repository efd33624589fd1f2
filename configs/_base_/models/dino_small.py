# The plain detector of fdta_dino_small.py, trained from scratch.
_base_ = ['./fdta_dino_small.py']

host = dict(
    _base_.model.detector.host,
    data_preprocessor=dict(
        _base_.model.data_preprocessor, type='DetDataPreprocessor', bgr_to_rgb=True
    ),
)
host['backbone']['norm_eval'] = False
model = dict(host, _delete_=True)
