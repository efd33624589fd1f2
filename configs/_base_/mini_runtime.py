# The default runtime, with MiniDance and counting iterations.
_base_ = ['./default_runtime.py']

default_hooks = dict(
    logger=dict(interval=50),
    checkpoint=dict(interval=400, by_epoch=False, max_keep_ckpts=1),
)
log_processor = dict(by_epoch=False)
