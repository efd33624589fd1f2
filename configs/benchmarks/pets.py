# Trackers on the second half of PETS09-S2L1, with the same detections of YOLOX-nano, at
# published settings; with `--tune 20` also at the best of 20 on the first half.
# `mmfdta benchmark benchmarks/pets`; see docs/benchmark_results.md.
data = 'test'

entries = [
    dict(name='ByteTrack', config='bytetrack_yolox-nano_pets'),
    dict(name='OC-SORT', config='ocsort_yolox-nano_pets'),
    dict(name='BoT-SORT', config='botsort_yolox-nano_pets'),
    dict(name='C-BIoU', config='cbiou_yolox-nano_pets'),
    dict(name='SORT', config='sort_yolox-nano_pets'),
    dict(name='ByteTrack with gallery', config='bytetrack-gallery_yolox-nano_pets'),
]
