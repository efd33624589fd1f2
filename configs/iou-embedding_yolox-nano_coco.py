# A small tracker on YOLOX-nano, which was not trained on identities. The embeddings are
# means of an early layer in stripes of each box. docs/add_a_tracker.md explains the
# tracker.
_base_ = ['./bytetrack_yolox-nano_coco.py']

model = dict(
    embeddings=dict(type='PooledEmbeddings', layers=['backbone.stage1']),
    tracker=dict(_delete_=True, type='IoUEmbeddingTracker', miss_tolerance=15),
)
