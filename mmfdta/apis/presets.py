# Copyright (c) mmfdta authors.
"""What is tracked with when nothing is named."""

from mmfdta.checkpoints.published import PUBLISHED

PRESETS = {
    'fast': 'bytetrack_yolox-tiny_coco',
    'accurate': 'bytetrack_yolox-x_coco',
}
DEFAULT_PRESET = 'fast'


def choose_config(checkpoint: object = None) -> str:
    """Choose the config where none is named.

    Args:
        checkpoint: What is to be loaded: the name of published weights brings its own
            config.

    Returns:
        Name of a config.
    """
    weights = PUBLISHED.get(str(checkpoint))
    if weights is not None and weights.configs:
        return weights.configs[0]
    return PRESETS[DEFAULT_PRESET]
