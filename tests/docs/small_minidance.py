# Copyright (c) mmfdta authors.
"""The MiniDance that commands of the pages run on here."""

SIZE = dict(train=1, val=1, test=2, frames=6, width=96, height=64)
# After `--cfg-options`: the configs ask for a set of another size.
OPTIONS = [
    *(f'test_dataloader.dataset.options.{name}={SIZE[name]}' for name in SIZE),
    'test_dataloader.num_workers=0',
    'test_dataloader.persistent_workers=False',
]
