# What MOTIP lacks of FDTA: the adapters and the depth loss. A config of MOTIP takes the
# one of FDTA as its base and these.
without_adapters = dict(
    detector=dict(spatial_adapter=None, bbox_head=dict(loss_depth=None)),
    temporal_adapter=None,
    identity_adapter=None,
)
# The same on a detector of MMDetection.
without_adapters_on_host = dict(
    without_adapters, detector=dict(spatial_adapter=None, loss_depth=None)
)
