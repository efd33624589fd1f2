# FDTA on MMDetection's Sparse R-CNN with ResNet-50, on DanceTrack; starts from Sparse
# R-CNN of COCO, see docs/any_detector.md. Not trained at full size yet: no score is
# known.
_base_ = [
    './_base_/models/fdta_sparse_rcnn_r50.py',
    './_base_/datasets/dancetrack.py',
    './_base_/schedules/fdta_13e.py',
    './_base_/default_runtime.py',
]

optim_wrapper = dict(
    paramwise_cfg=dict(
        custom_keys=dict(
            _delete_=True,
            # 2.5e-5, with which MMDetection trains all of it.
            **{'detector.host': dict(lr_mult=0.25)},
        )
    )
)
load_from = 'sparse-rcnn-r50'
default_hooks = dict(checkpoint=dict(save_best='mot/HOTA'))
