# ByteTrack with a gallery on PETS09-S2L1: who returns has the old identity, known by
# means of YOLOX-nano's early maps (docs/video.md).
_base_ = ['./bytetrack_yolox-nano_pets.py']

model = dict(
    embeddings=dict(type='PooledEmbeddings'),
    tracker=dict(
        _delete_=True, type='GalleryTracker', tracker=_base_.tracker, threshold=0.88
    ),
)
