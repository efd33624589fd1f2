# FDTA's association on the boxes that YOLOX-nano of COCO finds in PETS09-S2L1 and on
# looks, which are means of the detector's early maps. Learns from images of the first
# half; the detector stays as it is. Association starts from weights of boxes_pets.py,
# which model.init_cfg names. docs/benchmark_results.md has its scores.
_base_ = [
    './_base_/models/yolox_nano_person.py',
    './_base_/models/box_fdta_small.py',
    './_base_/datasets/pets_clips.py',
    './_base_/mini_runtime.py',
    './_base_/schedules/mini.py',
]

load_from = 'yolox-nano'

model = dict(
    _base_.association,
    _delete_=True,
    # What load_from has, the detector, replaces these weights.
    init_cfg=dict(type='Pretrained', checkpoint='work_dirs/boxes_pets/iter_1600.pth'),
    # 32 channels of the layer in each of 6 stripes.
    box_encoder=dict(_base_.association.box_encoder, looks_dims=192),
    data_preprocessor=_base_.model.data_preprocessor,
    detector=_base_.model.detector,
    embeddings=dict(type='PooledEmbeddings', layers=['backbone.stage1'], stripes=6),
    tracker=dict(_base_.association.tracker, det_thr=0.5, newborn_thr=0.6),
)

input_size = 416  # the short side, as for the other trackers on YOLOX-nano
train_pipeline = [
    step for step in _base_.train_pipeline if step['type'] != 'LoadClipDepth'
]
# As in boxes_pets.py: crops, and the thresholds below.
train_pipeline[1:2] = [
    dict(type='ClipRandomCrop', min_size=288, max_size=768),
    dict(type='ClipResize', short=input_size, max_long=800),
]
test_pipeline = _base_.test_pipeline
test_pipeline[0]['transforms'][1].update(short=input_size)

train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = dict(dataset=dict(pipeline=test_pipeline))

max_iters = 400
train_cfg = dict(max_iters=max_iters, val_interval=max_iters)
param_scheduler = _base_.param_scheduler
param_scheduler[1].update(end=max_iters, T_max=max_iters - _base_.warmup_iters)
