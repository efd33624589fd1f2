# MMDetection's DINO, small, on single frames, from scratch. Its weights start
# fdta_dino-r50_mini.py.
_base_ = ['./_base_/models/dino_small.py', './_base_/mini_two_stage_detector.py']
