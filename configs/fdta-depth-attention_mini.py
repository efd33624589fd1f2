# fdta_mini.py with the Spatial Adapter of the paper: in each decoder layer the queries
# attend to depth. docs/adapter_study.md compares both.
_base_ = ['./fdta_mini.py']

model = dict(
    detector=dict(
        spatial_adapter=dict(_base_.spatial_sizes, _delete_=True, type='SpatialAdapter')
    )
)
optim_wrapper = dict(
    paramwise_cfg=dict(
        custom_keys=dict(depth_attn=dict(lr_mult=1.0), depth_norm=dict(lr_mult=1.0))
    )
)
