default_scope = 'mmdet'
runner_type = 'TrackingRunner'
custom_imports = dict(imports=['mmfdta.registry'], allow_failed_imports=False)

env_cfg = dict(
    cudnn_benchmark=False,
    mp_cfg=dict(mp_start_method='fork', opencv_num_threads=0),
    dist_cfg=dict(backend='nccl'),
)
default_hooks = dict(
    timer=dict(type='IterTimerHook'),
    logger=dict(type='LoggerHook', interval=50),
    param_scheduler=dict(type='ParamSchedulerHook'),
    checkpoint=dict(type='WholeCheckpointHook', interval=1),
    sampler_seed=dict(type='DistSamplerSeedHook'),
    finite_loss=dict(type='FiniteLossHook', action='stop'),
    # Draws with the option --show-dir of MMDetection's tools.
    visualization=dict(type='TrackVisualizationHook'),
)
log_processor = dict(type='TrackingLogProcessor', window_size=50, by_epoch=True)
log_level = 'INFO'

vis_backends = [dict(type='LocalVisBackend')]
# Unnamed, so that each run of a process has one of its own.
visualizer = dict(type='TrackVisualizer', vis_backends=vis_backends)

load_from = None
resume = False
