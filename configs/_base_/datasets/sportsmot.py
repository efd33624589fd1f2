# SportsMOT: as DanceTrack, with clips of 60 frames; tested on the val split.
_base_ = ['./dancetrack.py']

source = dict(type='SportsMOTDataset', data_root='data/SportsMOT')

train_dataloader = dict(sampler=dict(lengths=60), dataset=source)
val_dataloader = dict(dataset=source)
test_dataloader = val_dataloader
