# The plain detector on SportsMOT's frames; its weights start fdta_sportsmot.py.
_base_ = ['./deformable_detr_dancetrack.py']

source = dict(type='SportsMOTDataset', data_root='data/SportsMOT')
train_dataloader = dict(dataset=source)
val_dataloader = dict(dataset=source)
test_dataloader = val_dataloader
