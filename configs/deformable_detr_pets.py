# The plain detector of fdta_pets.py and motip_pets.py on single frames of the first
# half of PETS09-S2L1. Its weights start both: --cfg-options load_from=PATH.
# docs/benchmark_results.md has its box AP.
_base_ = [
    './_base_/models/deformable_detr_small.py',
    './_base_/pets_detector.py',
]

# Of FDTA's weights it takes the detector.
load_from = 'minidance'
