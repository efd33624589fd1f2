# FDTA's association on boxes, for a CPU.
_base_ = ['./box_fdta.py']

association = dict(
    embed_dims=64,
    num_id_vocabulary=16,
    window=16,
    temporal_adapter=dict(
        num_layers=2, num_heads=4, feedforward_channels=128, dropout=0.0
    ),
    id_decoder=dict(id_dims=64, num_layers=3),
    tracker=dict(newborn_thr=0.5),
)
