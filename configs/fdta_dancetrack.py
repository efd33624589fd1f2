# FDTA on DanceTrack, trained on the train split (published: HOTA 71.7 on test).
# Start from a detector: --cfg-options load_from=PATH, see docs/checkpoints.md.
_base_ = [
    './_base_/models/fdta_r50.py',
    './_base_/datasets/dancetrack.py',
    './_base_/schedules/fdta_13e.py',
    './_base_/default_runtime.py',
]

default_hooks = dict(checkpoint=dict(save_best='mot/HOTA'))
