# Copyright (c) mmfdta authors.
"""The identity adapter contrasts detections within chunks of frames of a clip."""

import pytest
import torch

from mmfdta.models.adapters import IdentityAdapter


@pytest.mark.parametrize(('reduction', 'divisor'), [('sum', 1), ('mean', 3)])
def test_the_loss_is_that_of_the_chunks_and_the_mean_over_clips(reduction, divisor):
    """As many losses as there are chunks, each computed alone; one has no detection."""
    torch.manual_seed(0)
    loss = dict(type='QualityAwareContrastiveLoss', reduction=reduction)
    adapter = IdentityAdapter(8, 8, loss=loss, chunk_frames=4)
    clips, frames, objects = 2, 10, 3
    clip, frame, name = (
        x.flatten()
        for x in torch.meshgrid(
            *(torch.arange(n) for n in (clips, frames, objects)), indexing='ij'
        )
    )
    some = (clip == 0) | (frame < 8)
    clip, frame, name = clip[some], frame[some], name[some]
    embeddings = torch.randn(len(name), 8)
    qualities = 0.4 + 0.6 * torch.rand(len(name))
    found = adapter.loss(embeddings, name, qualities, clip, frame, clips, frames)
    expected = torch.zeros(())
    for number in range(clips):
        for first in (0, 4, 8):
            here = (clip == number) & (frame >= first) & (frame < first + 4)
            projected = adapter(embeddings[here])
            expected += adapter.loss_contrastive(projected, name[here], qualities[here])
    torch.testing.assert_close(found, expected / divisor / clips)


@pytest.mark.parametrize('name', ['num_layers', 'chunk_frames'])
def test_settings_out_of_their_range_are_refused(name: str):
    with pytest.raises(ValueError, match=f'identity_adapter.{name} = 0, expected'):
        IdentityAdapter(**{name: 0})
