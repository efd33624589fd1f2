# MMDetection's two-stage Deformable DETR, small, trained from scratch: the sizes of the
# plain detector of fdta_mini.py.
_base_ = ['./deformable_detr_small.py']

own = ('type', 'spatial_adapter', 'bbox_head')
model = dict(
    _delete_=True,
    # DeformableDETR, which as two stages is 256 wide only, at any width.
    type='TwoStageDeformableDETR',
    **{key: value for key, value in _base_.model.items() if key not in own},
)
model['as_two_stage'] = True
model['bbox_head'] = dict(
    type='DeformableDETRHead',
    num_classes=1,
    embed_dims=_base_.width,
    sync_cls_avg_factor=True,
    loss_cls=dict(
        type='FocalLoss', use_sigmoid=True, gamma=2.0, alpha=0.25, loss_weight=2.0
    ),
    loss_bbox=dict(type='L1Loss', loss_weight=5.0),
    loss_iou=dict(type='GIoULoss', loss_weight=2.0),
)
model['train_cfg'] = dict(
    assigner=dict(
        type='HungarianAssigner',
        match_costs=[
            dict(type='FocalLossCost', weight=2.0),
            dict(type='BBoxL1Cost', weight=5.0, box_format='xywh'),
            dict(type='IoUCost', iou_mode='giou', weight=2.0),
        ],
    )
)
model['test_cfg'] = dict(max_per_img=30)
