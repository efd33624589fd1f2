# fdta_mini.py for another minute on a few sequences, from the weights in the package.
# `mmfdta demo` trains it and compares the result with other trackers.
_base_ = ['./fdta_mini.py']

load_from = 'minidance'

data_root = 'data/minidance_demo'
# The first sequences of each split of fdta_mini.py: equal, byte for byte.
options = dict(train=8, val=4, test=5)

few = dict(dataset=dict(data_root=data_root, options=options))
train_dataloader = few
val_dataloader = few
test_dataloader = few

max_iters = 250
warmup_iters = 20
train_cfg = dict(max_iters=max_iters, val_interval=max_iters)
param_scheduler = _base_.param_scheduler
param_scheduler[0].update(end=warmup_iters)
param_scheduler[1].update(
    begin=warmup_iters, end=max_iters, T_max=max_iters - warmup_iters
)
optim_wrapper = dict(optimizer=dict(lr=1e-4))
default_hooks = dict(logger=dict(interval=20), checkpoint=dict(interval=100))
