# The trackers of this project on DanceTrack's val split. The checkpoints are the
# released ones, converted; docs/benchmark.md says how.
# `mmfdta benchmark benchmarks/dancetrack`
data = 'val'
checkpoint_dir = 'checkpoints/dancetrack'

entries = [
    dict(name='FDTA', config='fdta_dancetrack', checkpoint='fdta.pth'),
    dict(name='MOTIP', config='motip_dancetrack', checkpoint='motip.pth'),
    dict(name='MOTR', config='motr_dancetrack', checkpoint='motr.pth'),
    dict(
        name='ByteTrack (FDTA)',
        config='bytetrack_fdta-det_dancetrack',
        checkpoint='fdta.pth',
    ),
    dict(
        name='OC-SORT (FDTA)',
        config='ocsort_fdta-det_dancetrack',
        checkpoint='fdta.pth',
    ),
    dict(name='SORT (FDTA)', config='sort_fdta-det_dancetrack', checkpoint='fdta.pth'),
    dict(
        name='ByteTrack (YOLOX)',
        config='bytetrack_yolox-x_dancetrack',
        checkpoint='yolox_x.pth',
    ),
    dict(
        name='OC-SORT (YOLOX)',
        config='ocsort_yolox-x_dancetrack',
        checkpoint='yolox_x.pth',
    ),
    dict(
        name='SORT (YOLOX)', config='sort_yolox-x_dancetrack', checkpoint='yolox_x.pth'
    ),
]
