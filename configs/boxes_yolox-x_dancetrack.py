# FDTA's association on the boxes of YOLOX-x, on DanceTrack. Takes a checkpoint of
# boxes_dancetrack.py; detector_checkpoint names the YOLOX-x of
# bytetrack_yolox-x_dancetrack.py.
_base_ = ['./bytetrack_yolox-x_dancetrack.py', './_base_/models/box_fdta.py']

model = dict(
    _base_.association,
    _delete_=True,
    data_preprocessor=_base_.model.data_preprocessor,
    detector=_base_.model.detector,
)
detector_checkpoint = 'checkpoints/dancetrack/yolox_x.pth'
