# FDTA, FDTA on DINO and MOTIP, trained on the first half of PETS09-S2L1, on its second
# half, next to trackers on FDTA's detections and ByteTrack on those of YOLOX-nano.
# `mmfdta benchmark benchmarks/pets_trained`; see docs/benchmark_results.md.
data = 'test'
checkpoint_dir = 'work_dirs'

fdta = 'fdta_pets/iter_800.pth'
dino = 'fdta_dino-r50_pets/iter_800.pth'
entries = [
    dict(name='FDTA', config='fdta_pets', checkpoint=fdta),
    dict(name='MOTIP', config='motip_pets', checkpoint='motip_pets/iter_800.pth'),
    dict(name='FDTA on DINO', config='fdta_dino-r50_pets', checkpoint=dino),
    dict(name='ByteTrack on DINO', config='bytetrack_fdta-dino_pets', checkpoint=dino),
    dict(name='ByteTrack', config='bytetrack_fdta-det_pets', checkpoint=fdta),
    dict(name='OC-SORT', config='ocsort_fdta-det_pets', checkpoint=fdta),
    dict(name='BoT-SORT', config='botsort_fdta-det_pets', checkpoint=fdta),
    dict(name='C-BIoU', config='cbiou_fdta-det_pets', checkpoint=fdta),
    dict(
        name='IoU and embedding',
        config='iou-embedding_fdta-det_pets',
        checkpoint=fdta,
    ),
    dict(name='SORT', config='sort_fdta-det_pets', checkpoint=fdta),
    # The weights that the two trainings start from.
    dict(name='FDTA, not trained on it', config='fdta_pets', checkpoint='minidance'),
    dict(name='ByteTrack on YOLOX-nano', config='bytetrack_yolox-nano_pets'),
]
