# FDTA's association on boxes: sizes for DanceTrack. A config adds detector and data
# preprocessor.
association = dict(
    type='BoxFDTA',
    embed_dims=256,
    num_id_vocabulary=50,
    window=30,  # frames that association looks back, at least the clip length
    box_encoder=dict(type='BoxEncoder', num_wavelengths=8, horizons=(1, 2, 4, 8, 16)),
    temporal_adapter=dict(
        type='TemporalAdapter', num_layers=3, feedforward_channels=512, dropout=0.1
    ),
    trajectory_modeling=dict(type='TrajectoryModeling'),
    id_decoder=dict(type='IDDecoder', id_dims=256, num_layers=4),
    loss_id=dict(type='IDLoss', loss_weight=1.0),
    tracker=dict(
        type='FDTATracker',
        det_thr=0.3,
        newborn_thr=0.6,
        id_thr=0.2,
        protocol='object-max',
    ),
)

# In the place of a detector: the ground truth itself.
oracle = dict(
    data_preprocessor=dict(type='ClipDataPreprocessor'),
    detector=dict(type='TextDetections', text='{folder}/gt/gt.txt'),
)
