# Copyright (c) mmfdta authors.
"""The weights in the package: whole, of today's configs, and good for what they say."""

import hashlib

import cv2
import numpy as np
import pytest
import torch
from mmdet.registry import MODELS

from mmfdta.apis import MOTInferencer
from mmfdta.apis.config import load_config
from mmfdta.apis.weights import find_checkpoint
from mmfdta.checkpoints import PUBLISHED, read_content
from mmfdta.evaluation import Sequence, Settings, evaluate
from mmfdta.minidance import MiniDanceOptions, build_scene
from mmfdta.minidance.recipe import (
    FOLDER,
    RECIPE,
    describe_training,
    halve,
    read_recipe,
)
from mmfdta.minidance.training import DETECTOR, TRACKER, DemoPlan
from mmfdta.structures import Tracks

AGAIN = f'train them anew: {read_recipe()["made_by"]}'


@pytest.fixture(scope='module')
def path():
    return find_checkpoint('minidance')


def test_the_recipe_and_the_catalogue_are_those_of_the_file(path):
    content = path.read_bytes()
    recipe, published = read_recipe(), PUBLISHED['minidance']
    assert path.parent == FOLDER and path.name == recipe['file']
    assert len(content) == recipe['bytes'] == published.size < 4_000_000
    digest = hashlib.sha256(content).hexdigest()
    assert recipe['sha256'] == digest
    assert digest.startswith(published.sha256_prefix)
    assert len(published.sha256_prefix) >= 8
    measured = recipe['scores']['half precision']
    assert published.scores == {
        name: round(100 * measured[name], 2) for name in published.scores
    }
    assert '/work' not in (FOLDER / RECIPE).read_text()


def test_they_are_half_and_fit_the_config_with_nothing_left_over(path):
    content = read_content(path)
    assert list(content) == ['state_dict']
    weights = content['state_dict']
    model = MODELS.build(load_config('fdta_mini').model)
    model.load_state_dict(weights, strict=True)
    learned = dict(model.named_parameters())
    for name, value in weights.items():
        assert value.dtype == (torch.half if name in learned else value.dtype), name
        assert value.isfinite().all(), name
    assert sum(v.numel() for v in weights.values()) == read_recipe()['parameters']


@pytest.mark.parametrize('name', [DETECTOR, TRACKER])
def test_the_configs_train_as_the_recipe_says(name):
    recipe = read_recipe()['trainings'][name]
    seed = recipe['randomness']['seed']
    today = describe_training(DemoPlan(FOLDER, seed=seed).config(name))
    changed = [key for key in {*today, *recipe} if today.get(key) != recipe.get(key)]
    assert not changed, AGAIN


def test_rounding_keeps_counts_and_statistics():
    model = torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.BatchNorm1d(2))
    model(torch.randn(4, 3))
    given = model.state_dict()
    halved = halve(given)
    assert halved.keys() == given.keys()
    for name in ('1.running_mean', '1.running_var', '1.num_batches_tracked'):
        assert torch.equal(halved[name], given[name])
        assert halved[name].dtype == given[name].dtype
    assert halved['0.weight'].dtype == torch.half
    assert torch.allclose(halved['0.weight'].float(), given['0.weight'], rtol=5e-4)


def test_they_track_a_dance(path):
    """The first test sequence, drawn here; its HOTA is known."""
    options = MiniDanceOptions()
    scene = build_scene(options, 'test', 0)
    inferencer = MOTInferencer('fdta_mini', path, 'cpu')
    truth, found = [], []
    for index in range(options.frames):
        frame = scene.render(index)
        # The models are trained on what JPEG leaves.
        quality = [cv2.IMWRITE_JPEG_QUALITY, options.jpeg_quality]
        _, data = cv2.imencode('.jpg', frame.image, quality)
        found.append(inferencer.step(cv2.imdecode(data, cv2.IMREAD_COLOR)))
        count = len(frame.identities)
        truth.append(
            Tracks.create(np.full(count, index + 1), frame.identities, frame.boxes)
        )
    sequence = Sequence(
        'dance', options.frames, Tracks.concatenate(truth), Tracks.concatenate(found)
    )
    scores = evaluate([sequence], Settings('minidance')).of_class('all')
    assert scores['HOTA'].mean() > 0.6, AGAIN
