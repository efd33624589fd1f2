# FDTA's association on boxes, with and without embeddings, trained on the first half of
# PETS09-S2L1, on its second half, next to trackers by motion on the same detections of
# YOLOX-nano.
# `mmfdta benchmark benchmarks/pets_boxes`; see docs/benchmark_results.md.
data = 'test'
checkpoint_dir = 'work_dirs'

entries = [
    dict(name='ByteTrack', config='bytetrack_yolox-nano_pets'),
    dict(name='BoT-SORT', config='botsort_yolox-nano_pets'),
    dict(
        name='Boxes',
        config='boxes_yolox-nano_pets',
        checkpoint='boxes_pets/iter_1600.pth',
    ),
    dict(
        name='Boxes and embeddings',
        config='boxes-looks_yolox-nano_pets',
        checkpoint='boxes-looks_yolox-nano_pets/iter_400.pth',
    ),
]
