# FDTA on MMDetection's two-stage Deformable DETR for a CPU: fdta_dino_small.py with
# other boxes to start from in the decoder, another head, and no denoising.
_base_ = ['./fdta_dino_small.py']

dino = _base_.model.detector.host
head = dict(dino.bbox_head, type='DeformableDETRHead')
head['loss_cls'] = dict(head['loss_cls'], loss_weight=2.0)
host = dict(
    {key: value for key, value in dino.items() if key != 'dn_cfg'},
    _delete_=True,
    # Its own class is 256 wide, or has one stage.
    type='TwoStageDeformableDETR',
    positional_encoding=dict(num_feats=_base_.width // 2, normalize=True, offset=-0.5),
    bbox_head=head,
)
model = dict(detector=dict(host=host))
