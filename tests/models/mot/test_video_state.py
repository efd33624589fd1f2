# Copyright (c) mmfdta authors.
"""A model for another video shares networks, and nothing of the video."""

import threading

import pytest
import torch
from mmdet.models.mot import BaseMOTModel
from torch import nn

from mmfdta.models.mot import model_for_video


class Memory(nn.Module):
    """A tracker that is a module: with weights and with what it remembers."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Linear(2, 2)
        self.register_buffer('seen', torch.zeros(1))
        self.names: list[str] = []

    def reset(self) -> None:
        self.names = []


class Model(BaseMOTModel):
    """Keeps a video in its tracker and in an attribute of its own."""

    def __init__(self, tracker) -> None:
        super().__init__()
        self.detector = nn.Linear(3, 3)
        self.tracker = tracker
        self.earlier: dict[str, list[int]] = {}

    def loss(self, inputs, data_samples, **kwargs):
        raise NotImplementedError

    def predict(self, inputs, data_samples, **kwargs):
        return self.detector(inputs)


def test_networks_weights_and_hooks_are_shared():
    model = Model(Memory()).eval()
    calls = []
    model.register_forward_hook(lambda *_: calls.append('model'))
    other = model_for_video(model)
    model.detector.register_forward_hook(lambda *_: calls.append('detector'))
    assert type(other) is Model and not other.training
    assert other.detector is model.detector
    pairs = zip(other.parameters(), model.parameters(), strict=True)
    assert all(ours is theirs for ours, theirs in pairs)
    with torch.no_grad():
        model.detector.weight.fill_(2)
    assert torch.equal(other(torch.ones(1, 3)), model(torch.ones(1, 3)))
    assert calls == ['detector', 'model'] * 2


def test_what_is_kept_of_a_video_is_not():
    model = Model(Memory())
    model.tracker.seen += 1
    model.tracker.names.append('before')
    other = model_for_video(model)
    other.tracker.seen += 5
    other.tracker.names.append('one')
    other.earlier['one'] = [1]
    assert (model.tracker.seen.item(), other.tracker.seen.item()) == (1, 6)
    assert (model.tracker.names, other.tracker.names) == (['before'], ['one'])
    assert model.earlier == {}
    assert other.tracker.scale.weight is model.tracker.scale.weight
    # It is found under its name, as any part.
    assert other.get_submodule('tracker') is other.tracker is not model.tracker


class Plain:
    """A tracker without reset(), which knows the model."""

    def __init__(self) -> None:
        self.seen: list[int] = []


def test_a_tracker_that_refers_to_the_model_refers_to_the_shared_one():
    model = Model(Plain())
    model.tracker.network = model.detector
    model.tracker.detect = model.predict
    other = model_for_video(model)
    assert other.tracker.network is model.detector
    assert other.tracker.detect.__self__ is model
    other.tracker.seen.append(1)
    assert model.tracker.seen == []


def test_what_cannot_be_copied_is_named():
    model = Model(None)
    assert model_for_video(model).tracker is None
    model.guard = threading.Lock()
    with pytest.raises(ValueError, match='^Model keeps something .*lock') as error:
        model_for_video(model)
    assert '\n' not in str(error.value)
