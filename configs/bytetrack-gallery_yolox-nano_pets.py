# ByteTrack with a gallery on PETS09-S2L1: people who return get their old identity. The
# embeddings are early feature maps of YOLOX-nano (docs/gallery.md).
_base_ = ['./bytetrack_yolox-nano_pets.py']

model = dict(
    embeddings=dict(type='PooledEmbeddings'),
    tracker=dict(
        _delete_=True, type='GalleryTracker', tracker=_base_.tracker, threshold=0.88
    ),
)
