# Copyright (c) mmfdta authors.
"""The graph of FDTA's detector, run by onnxruntime, against the detector itself."""

import pytest
import torch
from mmdet.structures import DetDataSample
from recorded import Recorded
from small_fdta import build, small_config

from mmfdta.apis.export import detector_graph, operators

SIZE = 96, 128
# Of boxes and scores in 0..1, labels, and embeddings, whose channels a LayerNorm brings
# to a deviation of 1. Sums in another order have made 1.6e-6, 6.2e-7, 0 and 7.5e-5.
CLOSE = 5e-6, 2e-6, 0, 2e-4


@pytest.fixture(scope='module')
def model():
    """FDTA with three decoder layers and depth, all of whose weights matter."""
    model = build(small_config()).eval()
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in model.detector.parameters():
            parameter.add_(0.05 * torch.randn(parameter.shape, generator=generator))
    return model


@pytest.fixture(scope='module')
def any_size(model):
    return Recorded(detector_graph(model))


@pytest.fixture(scope='module')
def fixed_size(model):
    return Recorded(detector_graph(model, SIZE))


def pixels(count, size):
    return torch.randint(0, 256, (count, 3, *size)).to(torch.uint8)


def detect(model, frames, sizes):
    """What the model's own preprocessor and detector find in padded frames."""
    clips = [
        frame[None, :, :height, :width]
        for frame, (height, width) in zip(frames, sizes, strict=True)
    ]
    preprocessor = model.data_preprocessor
    shape = max(h for h, _ in sizes), max(w for _, w in sizes)
    shape = tuple(frames.shape[-2:]) if frames.shape[-2:] != shape else shape
    imgs = torch.zeros(len(clips), 3, *shape)
    for image, clip in zip(imgs, clips, strict=True):
        found = preprocessor(dict(inputs=dict(img=[clip])))['inputs']['img'][0, 0]
        image[:, : found.shape[-2], : found.shape[-1]] = found
    samples = [
        DetDataSample(metainfo=dict(img_shape=size, batch_input_shape=shape))
        for size in sizes
    ]
    with torch.no_grad():
        outputs = model.detector.detect(imgs, samples)
    scores, labels = outputs.cls_scores[-1].sigmoid().max(-1)
    return outputs.bbox_preds[-1], scores, labels, outputs.embeddings


def compare(found, expected):
    for theirs, ours, close in zip(found, expected, CLOSE, strict=True):
        torch.testing.assert_close(theirs, ours, rtol=0, atol=close)


def run(recorded, **inputs):
    feeds = {name: tensor.numpy() for name, tensor in inputs.items()}
    found = recorded.session.run(['boxes', 'scores', 'labels', 'embeddings'], feeds)
    return [torch.from_numpy(array) for array in found]


@pytest.mark.parametrize(
    'count, size',
    [(1, (64, 96)), (3, (61, 97)), (2, (33, 50)), (1, (32, 32)), (1, (100, 31))],
)
def test_frames_of_any_number_and_size(count, size, model, any_size):
    frames = pixels(count, size)
    expected = detect(model, frames, [size] * count)
    compare(run(any_size, frames=frames), expected)
    # Boxes and embeddings are not those of other frames.
    assert expected[0].std() > 0.01


@pytest.mark.parametrize(
    'sizes',
    [
        [SIZE],
        [(54, 128), (96, 101), (1, 1)],
        [(95, 127)],
        [(33, 50), SIZE],
    ],
)
def test_padded_frames_of_a_fixed_size(sizes, model, fixed_size):
    frames = pixels(len(sizes), SIZE)
    expected = detect(model, frames, sizes)
    found = run(fixed_size, frames=frames, sizes=torch.tensor(sizes))
    compare(found, expected)


@pytest.mark.parametrize('name', ['any_size', 'fixed_size'])
def test_operators_are_onnxs_own_and_none_samples_a_grid(name, request):
    recorded = request.getfixturevalue(name)
    assert {entry.domain for entry in recorded.proto.opset_import} <= {'', 'ai.onnx'}
    counts = operators(recorded.proto)
    assert not [operator for operator in counts if '.' in operator]
    for operator in ('GridSample', 'Loop', 'If', 'NonZero', 'BatchNormalization'):
        assert operator not in counts
    # Deformable sampling of each of the four layers, in a loop unless sizes are known.
    assert counts['Gather'] >= 4
    assert counts['Scan'] >= 4 if name == 'any_size' else 'Scan' not in counts


def test_the_model_is_left_as_it_is(model):
    before = {name: type(module) for name, module in model.named_modules()}
    weights = {name: value.clone() for name, value in model.state_dict().items()}
    graph = detector_graph(model)
    assert {name: type(module) for name, module in model.named_modules()} == before
    for name, value in model.state_dict().items():
        assert value.equal(weights[name]), name
    # What is not folded is shared.
    ours = {tensor.data_ptr() for tensor in model.detector.neck.parameters()}
    assert {t.data_ptr() for t in graph.detector.neck.parameters()} == ours
