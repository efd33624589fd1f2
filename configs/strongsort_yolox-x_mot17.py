# StrongSORT on the second halves of MOT17, with the YOLOX-x of ByteTrack's ablation,
# which has seen the first halves and CrowdHuman, and MMDetection's network for
# re-identification (docs/baselines.md).
_base_ = [
    './_base_/models/yolox_x.py',
    './_base_/datasets/mot17.py',
    './_base_/trackers/strongsort.py',
    './_base_/default_runtime.py',
]

model = dict(
    embeddings=dict(type='CropEmbeddings', network=dict(type='ReIDNetwork')),
    tracker=_base_.tracker,
)
part_checkpoints = {'embeddings.network': 'reid-r50-mot17'}
train_dataloader = None
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
