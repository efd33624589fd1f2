# The plain detector on SportsMOT's frames; its weights start fdta_sportsmot.py.
_base_ = ['./deformable_detr_dancetrack.py']

train_dataloader = dict(
    dataset=dict(type='SportsMOTDataset', data_root='data/SportsMOT')
)
