# Removes the adapters and the depth loss, which MOTIP does not have. A config of MOTIP
# has these settings and the config of FDTA as its bases.
without_adapters = dict(
    detector=dict(spatial_adapter=None, bbox_head=dict(loss_depth=None)),
    temporal_adapter=None,
    identity_adapter=None,
)
# The same on a detector of MMDetection.
without_adapters_on_host = dict(
    without_adapters, detector=dict(spatial_adapter=None, loss_depth=None)
)
