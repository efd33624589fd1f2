# FDTA for a CPU: fdta_r50.py, small, and trained from scratch. Depth is a second task
# of backbone and neck, and no query attends to it; fdta-depth-attention_mini.py has the
# attention of the paper.
_base_ = ['./fdta_r50.py', './mini_sizes.py']

model = dict(
    _base_.fdta_sizes,
    detector=dict(
        _base_.detector_sizes,
        # Without attention the depth loss would change nothing if its gradient ended
        # at the features.
        spatial_adapter=dict(
            _base_.spatial_sizes, with_embedding=False, feature_gradient=1.0
        ),
    ),
)
