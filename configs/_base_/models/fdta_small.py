# FDTA for a CPU: fdta_r50.py, small, and trained from scratch.
_base_ = ['./fdta_r50.py', './mini_sizes.py']

model = dict(
    num_id_vocabulary=16,
    window=16,  # frames of a clip; a track is remembered one less
    detector=dict(
        _base_.detector_sizes,
        spatial_adapter=dict(
            num_bins=40,
            num_heads=4,
            feedforward_channels=64,
            dropout=0.0,
            num_groups=16,
        ),
    ),
    temporal_adapter=dict(
        num_layers=2, num_heads=4, feedforward_channels=128, dropout=0.0
    ),
    identity_adapter=dict(warmup_epochs=0, loss=dict(loss_weight=10.0)),
    id_decoder=dict(id_dims=64, num_layers=3),
    clip_detection=dict(num_grad_frames=6, grad_chunk=0, no_grad_chunk=0),
    tracker=dict(newborn_thr=0.5),
)
