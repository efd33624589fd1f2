# Copyright (c) mmfdta authors.
"""Networks, losses and trackers, registered in MMDetection's registries.

Names are loaded, and their classes registered, on first use; ``mmfdta.registry`` loads
all of them.
"""

from mmfdta.utils.lazy import lazy_names

_NAMES = {
    'adapters': ('IdentityAdapter', 'SpatialAdapter', 'TemporalAdapter'),
    'association': (
        'BoxEncoder',
        'EmbeddingProjection',
        'EmbeddingSharing',
        'IDDecoder',
        'QueryInteraction',
        'TrajectoryModeling',
    ),
    'data_preprocessors': ('ClipDataPreprocessor', 'TrackerDataPreprocessor'),
    'detectors': (
        'ClipMatcher',
        'CropEmbeddings',
        'DetrInterface',
        'FDTADetector',
        'FDTAHead',
        'MOTRDetector',
        'MOTRHead',
        'PooledEmbeddings',
        'QueryDetector',
        'ReIDNetwork',
        'TextDetections',
        'TrackletMatcher',
        'TwoStageDeformableDETR',
        'ZooDINO',
    ),
    'losses': ('DepthBinLoss', 'IDLoss', 'QualityAwareContrastiveLoss'),
    'mot': ('BoxFDTA', 'FDTA', 'MOTR', 'TrackingByDetection'),
    'trackers': (
        'DeepSORTTracker',
        'FDTATracker',
        'GalleryTracker',
        'IoUEmbeddingTracker',
        'LibraryTracker',
        'MOTRTracker',
        'OnlineStrongSORTTracker',
        'UpdateTracker',
    ),
}
__all__ = [name for names in _NAMES.values() for name in names]
__getattr__ = lazy_names(__name__, _NAMES)
