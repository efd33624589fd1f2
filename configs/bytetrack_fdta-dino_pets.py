# ByteTrack on the detections of FDTA on DINO in PETS09-S2L1, so that association alone
# is compared. Takes the detector out of a checkpoint of fdta_dino-r50_pets.py.
_base_ = ['./_base_/detections/fdta-dino_pets.py', './_base_/trackers/bytetrack.py']

model = dict(tracker=_base_.tracker)
