# DeepSORT on the second halves of MOT17, with the Faster R-CNN of MMDetection's model
# zoo and the network for re-identification of Tracktor (docs/baselines.md).
_base_ = [
    './_base_/models/faster_rcnn_r50.py',
    './_base_/datasets/mot17_second_halves.py',
    './_base_/trackers/deepsort.py',
    './_base_/default_runtime.py',
]

model = dict(
    embeddings=dict(type='CropEmbeddings', network=dict(type='ReIDNetwork')),
    tracker=_base_.tracker,
)
checkpoint = 'faster-rcnn-mot17'
part_checkpoints = {'embeddings.network': 'reid-tracktor'}
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
