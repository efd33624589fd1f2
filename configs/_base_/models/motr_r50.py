# MOTR on Deformable DETR with ResNet-50, hyper-parameters of the released code:
# configs/r50_motr_train_dance.sh there and the defaults of main.py (--extra_track_attn
# --update_query_pos --merger_dropout 0 --dropout 0 --random_drop 0.1 --fp_ratio 0.3
# --use_checkpoint); thresholds of RuntimeTrackerBase in models/motr.py and of
# submit_dance.py.
_base_ = ['./fdta_r50.py']

detector = _base_.detector
detector.type = 'MOTRDetector'
detector.pop('spatial_adapter')
detector.bbox_head.type = 'MOTRHead'
detector.bbox_head.pop('loss_depth')
matcher = detector.bbox_head.pop('matcher')

model = dict(
    _delete_=True,
    type='MOTR',
    data_preprocessor=_base_.model.data_preprocessor,
    detector=detector,
    matcher=dict(type='TrackletMatcher', newborn_matcher=matcher),
    query_interaction=dict(
        type='QueryInteraction',
        num_heads=8,
        feedforward_channels=1024,
        dropout=0.0,
    ),
    query_sampling=dict(drop_prob=0.1, insert_prob=0.3, min_iou=0.5),
    tracker=dict(
        type='MOTRTracker',
        newborn_thr=0.7,
        keep_thr=0.6,
        miss_tolerance=5,
        det_thr=0.7,
        area_thr=100.0,
    ),
    with_cp=True,
)
