# The plain detector on BFT's frames; its weights start fdta_bft.py.
_base_ = ['./deformable_detr_dancetrack.py']

max_epochs = 60
train_cfg = dict(max_epochs=max_epochs)
param_scheduler = [
    dict(type='MultiStepLR', by_epoch=True, end=max_epochs, milestones=[45], gamma=0.1)
]
source = dict(type='BFTDataset', data_root='data/BFT')
train_dataloader = dict(dataset=source)
val_dataloader = dict(dataset=dict(source, split='test'))
test_dataloader = val_dataloader
