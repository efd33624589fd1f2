# MOT17: as DanceTrack; clips of the first half of each train sequence, tested on
# the second half.
_base_ = ['./dancetrack.py']

source = dict(type='MOT17Dataset', data_root='data/MOT17', split='train')

train_dataloader = dict(dataset=dict(source, half='first'))
val_dataloader = dict(dataset=dict(source, half='second'))
test_dataloader = val_dataloader
