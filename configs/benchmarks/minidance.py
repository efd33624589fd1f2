# The trackers of this project on MiniDance's test split, at published settings; with
# `--tune 20` also at the best of 20 on val.
# `mmfdta benchmark benchmarks/minidance`; see docs/benchmark_results.md.
data = 'test'
checkpoint_dir = 'work_dirs/demo_train'

entries = [
    dict(name='FDTA', config='fdta_mini', checkpoint='fdta.pth'),
    dict(name='MOTIP', config='motip_mini', checkpoint='motip.pth'),
    dict(name='MOTR', config='motr_mini', checkpoint='motr.pth'),
    dict(name='ByteTrack', config='bytetrack_fdta-det_mini', checkpoint='fdta.pth'),
    dict(name='OC-SORT', config='ocsort_fdta-det_mini', checkpoint='fdta.pth'),
    dict(name='BoT-SORT', config='botsort_fdta-det_mini', checkpoint='fdta.pth'),
    dict(name='C-BIoU', config='cbiou_fdta-det_mini', checkpoint='fdta.pth'),
    dict(
        name='IoU and embedding',
        config='iou-embedding_fdta-det_mini',
        checkpoint='fdta.pth',
    ),
    dict(name='SORT', config='sort_fdta-det_mini', checkpoint='fdta.pth'),
    dict(name='FDTA with gallery', config='fdta-gallery_mini', checkpoint='fdta.pth'),
    dict(
        name='Boxes',
        config='boxes_fdta-det_mini',
        checkpoint='boxes.pth',
        detector_checkpoint='fdta.pth',
    ),
    dict(
        name='Boxes and embeddings',
        config='boxes-looks_fdta-det_mini',
        checkpoint='boxes-looks.pth',
    ),
]
