# BFT: as DanceTrack, with clips of 20 frames; tested on the test split, which is
# public.
_base_ = ['./dancetrack.py']

source = dict(type='BFTDataset', data_root='data/BFT')

train_dataloader = dict(sampler=dict(lengths=20), dataset=source)
val_dataloader = dict(dataset=dict(source, split='test'))
test_dataloader = val_dataloader
