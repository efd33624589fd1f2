# The trackers of this project on MiniDance's test split.
# `mmfdta benchmark benchmarks/minidance`; see docs/benchmark.md.
data = 'test'
checkpoint_dir = 'work_dirs/demo_train'

entries = [
    dict(name='FDTA', config='fdta_mini', checkpoint='fdta.pth'),
    dict(name='MOTIP', config='motip_mini', checkpoint='motip.pth'),
    dict(name='MOTR', config='motr_mini', checkpoint='motr.pth'),
    dict(name='ByteTrack', config='bytetrack_fdta-det_mini', checkpoint='fdta.pth'),
    dict(name='OC-SORT', config='ocsort_fdta-det_mini', checkpoint='fdta.pth'),
    dict(
        name='IoU and embedding',
        config='iou-embedding_fdta-det_mini',
        checkpoint='fdta.pth',
    ),
    dict(name='SORT', config='sort_fdta-det_mini', checkpoint='fdta.pth'),
]
