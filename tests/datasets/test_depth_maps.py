# Copyright (c) mmfdta authors.
"""Depth maps: normalisation, resuming, backends, and what is refused."""

import json
import os
import shutil
import urllib.error

import numpy as np
import pytest
from PIL import Image

from mmfdta.cli.main import main as mmfdta
from mmfdta.datasets.depth import TransformersDepth, generate_depth
from mmfdta.datasets.mot_sequence import mot_source


def main(arguments):
    return mmfdta(['generate-depth', *arguments])


class _Ramp:
    """Depth that grows with the frame number; can fail at a frame."""

    dtype = np.float32
    resumes = True

    def __init__(self, name='ramp', fail_at=None):
        self.name, self.fail_at, self.calls = name, fail_at, []

    def describe(self):
        return {'backend': self.name, 'licence': 'none'}

    def predict(self, paths, sequence):
        for path in paths:
            number = int(path[-10:-4])
            if number == self.fail_at:
                raise KeyboardInterrupt
            self.calls.append(number)
            yield np.linspace(0, 10 * number, 6, dtype=np.float32).reshape(2, 3) + 5


@pytest.fixture
def source(tmp_path, make_sequence):
    make_sequence(tmp_path / 'train' / 'a', 4, size=(20, 30))
    return mot_source(tmp_path / 'train' / 'a')


def _maps(source):
    stems = [f'{t:06d}' for t in range(1, 5)]
    images = [Image.open(f'{source.depth_dir}/{stem}.png') for stem in stems]
    assert {image.mode for image in images} == {'L'}
    return np.stack([np.asarray(image) for image in images])


def test_normalised_over_the_sequence(source, tmp_path):
    assert generate_depth(source, _Ramp()) == 4
    maps = _maps(source)
    assert maps.shape == (4, 20, 30)
    # Depth runs from 5 to 45 over the sequence, and to 15, 25, 35 in its frames.
    assert maps[0].min() == 0 and maps[3].max() == 255
    np.testing.assert_allclose(maps.max(axis=(1, 2)), [64, 128, 191, 255], atol=5)
    info = json.loads((tmp_path / 'train' / 'a' / 'depth' / 'depth.json').read_text())
    assert info['range'] == [5, 45] and info['polarity'] == 'near is bright'
    assert info['backend'] == 'ramp' and info['licence'] == 'none'
    assert info['maps'] == 4 and info['size'] == [30, 20]
    assert not (tmp_path / 'train' / 'a' / 'depth.partial').exists()


def test_complete_maps_are_left_alone(source):
    generate_depth(source, _Ramp())
    again = _Ramp('other')
    assert generate_depth(source, again) == 0 and again.calls == []


def test_resumes_where_it_was_interrupted(source, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        generate_depth(source, _Ramp(fail_at=3))
    assert not (tmp_path / 'train' / 'a' / 'depth').exists()
    second = _Ramp()
    assert generate_depth(source, second) == 4
    assert second.calls == [3, 4]
    resumed = _maps(source)
    for path in (tmp_path / 'train' / 'a' / 'depth').iterdir():
        path.unlink()
    (tmp_path / 'train' / 'a' / 'depth').rmdir()
    generate_depth(source, _Ramp())
    np.testing.assert_array_equal(_maps(source), resumed)


def test_another_backend_starts_anew(source):
    with pytest.raises(KeyboardInterrupt):
        generate_depth(source, _Ramp(fail_at=3))
    other = _Ramp('other')
    generate_depth(source, other)
    assert other.calls == [1, 2, 3, 4]


def test_maps_of_another_tool_are_never_overwritten(source, tmp_path):
    folder = tmp_path / 'train' / 'a' / 'depth'
    folder.mkdir()
    Image.new('L', (30, 20), 7).save(folder / '000001.png')
    with pytest.raises(FileExistsError, match='holds maps of another tool'):
        generate_depth(source, _Ramp())
    assert [path.name for path in folder.iterdir()] == ['000001.png']


def _save(pixels):
    return lambda path: Image.fromarray(pixels).save(path)


UNUSABLE = {
    '16-bit': _save(np.zeros((20, 30), np.uint16)),
    'colour': _save(np.zeros((20, 30, 3), np.uint8)),
    'expected the size of the image, 30x20': _save(np.zeros((10, 15), np.uint8)),
    'not an image': lambda path: path.write_text('text'),
}


@pytest.mark.parametrize('problem', UNUSABLE)
def test_maps_that_cannot_be_trained_on_are_not_left_alone(source, tmp_path, problem):
    """Those of another tool are named; those that were made here are made again."""
    folder = tmp_path / 'train' / 'a' / 'depth'
    generate_depth(source, _Ramp())
    expected = _maps(source)
    UNUSABLE[problem](folder / '000003.png')
    (folder / 'depth.json').rename(tmp_path / 'depth.json')
    with pytest.raises(
        FileExistsError,
        match=rf'depth: holds maps of another tool .*000003.png: .*{problem}.*Move the',
    ):
        generate_depth(source, _Ramp())
    (tmp_path / 'depth.json').rename(folder / 'depth.json')
    assert generate_depth(source, _Ramp()) == 4
    np.testing.assert_array_equal(_maps(source), expected)


def test_senseless_depth_is_refused(source):
    class Flat(_Ramp):
        def predict(self, paths, sequence):
            return (np.ones((2, 2), dtype=np.float32) for _ in paths)

    class Broken(_Ramp):
        def predict(self, paths, sequence):
            return (np.full((2, 2), np.nan, dtype=np.float32) for _ in paths)

    with pytest.raises(ValueError, match='the same everywhere|is 1.0 everywhere'):
        generate_depth(source, Flat())
    with pytest.raises(
        ValueError, match='000001.jpg: the depth estimate is not finite'
    ):
        generate_depth(source, Broken('broken'))


@pytest.mark.parametrize('kind', ['png8', 'png16', 'npy'])
def test_folder_backend(source, tmp_path, kind, capsys):
    folder = tmp_path / 'maps' / 'a' / ('depth' if kind == 'png8' else '')
    folder.mkdir(parents=True)
    ramp = np.linspace(0, 1, 600).reshape(20, 30)
    for t in range(1, 5):
        depth = ramp * t / 4
        if kind == 'npy':
            np.save(folder / f'{t:06d}.npy', depth)
        elif kind == 'png16':
            Image.fromarray((depth * 65535).astype(np.uint16)).save(
                folder / f'{t:06d}.png'
            )
        else:  # eight digits, as the released tool writes
            Image.fromarray((depth * 255).astype(np.uint8)).save(
                folder / f'{t:08d}.png'
            )
    arguments = ['--backend', 'folder', '--maps', str(tmp_path / 'maps')]
    assert main([str(tmp_path), *arguments]) == 0
    expected = np.stack([ramp * t / 4 * 255 for t in range(1, 5)])
    np.testing.assert_allclose(_maps(source), expected, atol=1.01)
    assert main([str(tmp_path), '--check']) == 0
    (tmp_path / 'train' / 'a' / 'depth' / '000002.png').unlink()
    assert main([str(tmp_path), '--check']) == 1
    assert 'no depth map for 000002.jpg' in capsys.readouterr().out


def test_folder_backend_inverts_and_names_what_is_wrong(source, tmp_path, capsys):
    folder = tmp_path / 'maps' / 'a'
    folder.mkdir(parents=True)
    for t in range(1, 4):
        np.save(folder / f'{t:06d}.npy', np.arange(600.0).reshape(20, 30))
    arguments = [str(tmp_path), '--backend', 'folder', '--maps', str(folder.parent)]
    assert main(arguments) == 1
    assert 'no depth map for 000004.jpg' in capsys.readouterr().err
    Image.new('RGB', (30, 20)).save(folder / '000004.png')
    assert main(arguments) == 1
    assert '000004.png: found an array of shape' in capsys.readouterr().err
    (folder / '000004.png').unlink()
    np.save(folder / '000004.npy', np.arange(600.0).reshape(20, 30))
    assert main([*arguments, '--near-is-dark']) == 0
    first = _maps(source)[0]
    assert first[0, 0] == 255 and first[-1, -1] == 0


def _write_maps(folder, greys):
    """Maps of 0 and 255 at the sides, and of a grey level between."""
    folder.mkdir(parents=True, exist_ok=True)
    for t, grey in enumerate(greys, start=1):
        depth = np.full((20, 30), grey, dtype=np.uint8)
        depth[:, :5], depth[:, -5:] = 0, 255
        Image.fromarray(depth).save(folder / f'{t:06d}.png')


@pytest.mark.parametrize('second', ['x/maps', 'y/maps'])
def test_maps_of_an_interrupted_run_are_read_again(source, tmp_path, second):
    """They may have been replaced since, in one folder or in another of its name."""
    options = [str(tmp_path), '--kind', 'mot', '--backend', 'folder', '--maps']
    _write_maps(tmp_path / 'x' / 'maps' / 'a', [10, 20])
    assert main([*options, str(tmp_path / 'x' / 'maps')]) == 1
    _write_maps(tmp_path / second / 'a', [200] * 4)
    assert main([*options, str(tmp_path / second)]) == 0
    assert _maps(source)[:, 10, 15].tolist() == [200] * 4


def test_maps_have_the_name_of_the_sequence_wherever_links_lead(
    tmp_path, make_sequence
):
    raw = make_sequence(tmp_path / 'raw' / 'x' / '0001', 4, size=(20, 30))
    train = tmp_path / 'data' / 'train'
    (train / 'street01').mkdir(parents=True)
    (train / 'street01' / 'img1').symlink_to(raw / 'img1')
    make_sequence(tmp_path / 'raw' / 'x' / '0002', 4, size=(20, 30))
    (train / 'street02').symlink_to(tmp_path / 'raw' / 'x' / '0002')
    for name, grey in (('street01', 40), ('street02', 80)):
        _write_maps(tmp_path / 'maps' / name, [grey] * 4)
    options = ['--backend', 'folder', '--maps', str(tmp_path / 'maps')]
    assert main([str(tmp_path / 'data'), *options]) == 0
    for name, grey in (('street01', 40), ('street02', 80)):
        found = _maps(mot_source(train / name))
        assert found[:, 10, 15].tolist() == [grey] * 4


@pytest.mark.parametrize('kind', ['grey', 'colour', '1 bit'])
def test_numbers_of_a_palette_are_no_depth(source, tmp_path, capsys, kind):
    """The palette of a grey image says its levels."""
    _write_maps(tmp_path / 'maps' / 'a', [120] * 4)
    for path in (tmp_path / 'maps' / 'a').iterdir():
        depth = Image.open(path)
        if kind == '1 bit':
            depth.convert('1').save(path)
            continue
        palette = depth.convert('RGB').quantize(3)
        assert np.unique(np.asarray(palette)).tolist() == [0, 1, 2]
        if kind == 'colour':
            palette.putpalette([0, 0, 90, 200, 10, 10, 10, 250, 10])
        palette.save(path)
    options = ['--backend', 'folder', '--maps', str(tmp_path / 'maps')]
    assert main([str(tmp_path), *options]) == (0 if kind == 'grey' else 1)
    if kind == 'grey':
        assert (_maps(source)[:, 10, [2, 15, 27]] == [0, 120, 255]).all()
    else:
        (line,) = capsys.readouterr().err.strip().splitlines()
        said = 'found 1 bit' if kind == '1 bit' else 'expected one grey channel'
        assert '000001.png: ' in line and said in line


def test_static_images_are_refused(tmp_path, capsys):
    (tmp_path / 'annotation_train.odgt').write_text('')
    assert main([str(tmp_path)]) == 1
    assert 'static images' in capsys.readouterr().err


@pytest.fixture(scope='module')
def tiny_model(tmp_path_factory):
    # Here, as it takes seconds to import and only this test needs it.
    import torch
    import transformers

    torch.manual_seed(0)
    backbone = transformers.Dinov2Config(
        hidden_size=16,
        num_hidden_layers=4,
        num_attention_heads=2,
        mlp_ratio=1,
        image_size=56,
        patch_size=14,
        out_features=['stage1', 'stage2', 'stage3', 'stage4'],
        reshape_hidden_states=False,
    )
    config = transformers.DepthAnythingConfig(
        backbone_config=backbone,
        reassemble_hidden_size=16,
        neck_hidden_sizes=[4, 4, 8, 8],
        fusion_hidden_size=8,
        head_hidden_size=4,
        patch_size=14,
    )
    model = transformers.DepthAnythingForDepthEstimation(config)
    # A fresh head gives next to nothing, and its last activation cuts at zero.
    with torch.no_grad():
        for parameter in model.head.parameters():
            parameter.uniform_(0, 1)
    folder = tmp_path_factory.mktemp('tiny')
    model.save_pretrained(folder)
    transformers.DPTImageProcessor(
        size={'height': 56, 'width': 56},
        keep_aspect_ratio=True,
        ensure_multiple_of=14,
    ).save_pretrained(folder)
    return folder, model.eval()


def test_transformers_backend(source, tmp_path, tiny_model):
    import torch
    from transformers import AutoImageProcessor

    folder, model = tiny_model
    assert main([str(tmp_path), '--model', str(folder), '--batch-size', '3']) == 0
    processor = AutoImageProcessor.from_pretrained(folder)
    raw = []
    for t in range(1, 5):
        image = Image.open(f'{source.image_dir}/{t:06d}.jpg')
        with torch.inference_mode():
            inputs = processor(images=image, return_tensors='pt')
            raw.append(model(**inputs).predicted_depth[0].numpy())
    low, high = np.min(raw), np.max(raw)
    assert high > low
    info = json.loads((tmp_path / 'train' / 'a' / 'depth' / 'depth.json').read_text())
    np.testing.assert_allclose(info['range'], [low, high], rtol=2e-3)
    assert info['backend'] == 'transformers' and info['model'] == folder.name
    maps = _maps(source).astype(float)
    for found, depth in zip(maps, raw, strict=True):
        expected = (depth - low) / (high - low) * 255
        assert abs(found.mean() - expected.mean()) < 8
        # Where the model sees more, the map is brighter.
        halves = [
            (m[: len(m) // 2].mean(), m[len(m) // 2 :].mean())
            for m in (found, expected)
        ]
        np.testing.assert_allclose(*halves, atol=12)


def test_other_weights_in_a_folder_start_anew(tmp_path, tiny_model):
    """Their names are the same; the run of a copy continues."""
    folders = [tmp_path / name / 'model' for name in 'abc']
    for folder in folders:
        shutil.copytree(tiny_model[0], folder)
    weights = folders[2] / 'model.safetensors'
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(data)
    one, copy, other = (
        TransformersDepth(str(folder), device='cpu').describe() for folder in folders
    )
    assert one == copy != other
    assert one['model'] == other['model'] == 'model'


def test_grey_images_of_16_bits_are_not_overexposed(tmp_path, tiny_model, make_image):
    grey = make_image(0, 60, 80)[..., 0]
    Image.fromarray(grey).save(tmp_path / '8.png')
    Image.fromarray(grey.astype(np.uint16) * 257).save(tmp_path / '16.png')
    backend = TransformersDepth(str(tiny_model[0]), device='cpu')
    shallow, deep = backend.predict(
        [str(tmp_path / name) for name in ('8.png', '16.png')], 'a'
    )
    assert np.ptp(shallow) > 0
    np.testing.assert_allclose(deep, shallow, rtol=1e-5)


def test_metres_are_turned_into_nearness(source, tmp_path):
    """GLPN estimates metres, and its config does not say so."""
    import torch
    import transformers

    torch.manual_seed(0)
    config = transformers.GLPNConfig(
        depths=[1, 1, 1, 1],
        hidden_sizes=[4, 4, 4, 4],
        num_attention_heads=[1, 1, 1, 1],
        mlp_ratios=[1, 1, 1, 1],
        decoder_hidden_size=4,
    )
    model = transformers.GLPNForDepthEstimation(config).eval()
    # A fresh head gives nearly the same everywhere.
    with torch.no_grad():
        for parameter in model.head.parameters():
            parameter.uniform_(-1, 1)
    model.save_pretrained(tmp_path / 'glpn')
    processor = transformers.GLPNImageProcessor()
    processor.save_pretrained(tmp_path / 'glpn')
    path = f'{source.image_dir}/000001.jpg'
    Image.effect_mandelbrot((96, 64), (-2, -1, 1, 1), 99).save(path)
    image = Image.open(path).convert('RGB')
    with torch.inference_mode():
        inputs = processor(images=image, return_tensors='pt')
        metres = model(**inputs).predicted_depth[0].numpy()
    assert 0 < metres.min() < metres.max() < config.max_depth
    backend = TransformersDepth(str(tmp_path / 'glpn'), device='cpu')
    assert backend.describe()['inverted']
    (nearness,) = backend.predict([path], 'a')
    np.testing.assert_allclose(nearness, -metres, rtol=1e-5)


@pytest.fixture
def no_network(tmp_path, monkeypatch):
    """An empty cache, and an address that nobody answers; counts the tries."""
    from huggingface_hub import constants

    tried = []

    def fail(request, timeout):
        tried.append(request.full_url)
        raise urllib.error.URLError('Name or service not known')

    monkeypatch.setattr('urllib.request.urlopen', fail)
    monkeypatch.setattr(constants, 'HF_HUB_CACHE', str(tmp_path / 'cache'))
    monkeypatch.setattr('transformers.utils.hub.constants.HF_HUB_CACHE', str(tmp_path))
    return tried


@pytest.mark.parametrize('offline', [False, True])
def test_without_a_network_it_fails_at_once(
    source, tmp_path, no_network, monkeypatch, capsys, offline
):
    monkeypatch.setattr('huggingface_hub.constants.HF_HUB_OFFLINE', offline)
    slept = []
    monkeypatch.setattr('time.sleep', slept.append)
    assert main([str(tmp_path)]) == 1
    assert slept == []  # it does not wait for a better network
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert 'depth-anything/Depth-Anything-V2-Small-hf: not in the cache' in line
    assert '--model PATH' in line and '--backend folder --maps DIR' in line
    assert ('HF_HUB_OFFLINE' if offline else 'Name or service not known') in line
    assert len(no_network) == (0 if offline else 1)


def test_a_cached_model_needs_no_network(source, tmp_path, no_network, tiny_model):
    cached = tmp_path / 'models--me--tiny'
    commit = '0' * 40
    (cached / 'refs').mkdir(parents=True)
    (cached / 'refs' / 'main').write_text(commit)
    shutil.copytree(tiny_model[0], cached / 'snapshots' / commit)
    assert main([str(tmp_path), '--model', 'me/tiny', '--kind', 'mot']) == 0
    info = json.loads((tmp_path / 'train' / 'a' / 'depth' / 'depth.json').read_text())
    assert info['model'] == 'me/tiny' and info['revision'] == commit


@pytest.mark.parametrize(
    ('files', 'said'),
    [
        (None, 'no such folder'),
        ({}, 'no config.json in this folder'),
        ({'config.json': '{}'}, 'no depth model that transformers can load'),
        ({'config.json': '{"model_type": "bert"}'}, 'no depth model that'),
        ({'config.json': 'not JSON'}, 'no depth model that'),
        ({'config.json': '{"model_type": "depth_anything"}'}, 'no depth model that'),
    ],
)
def test_a_folder_that_is_no_model_is_named(
    source, tmp_path, no_network, capsys, files, said
):
    folder = tmp_path / 'model'
    if files is not None:
        folder.mkdir()
        for name, text in files.items():
            (folder / name).write_text(text)
    assert main([str(tmp_path), '--kind', 'mot', '--model', str(folder)]) == 1
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert f'{folder}: ' in line and said in line and '--backend folder' in line
    assert not no_network


@pytest.mark.parametrize('linked', [False, True], ids=['folder', 'link'])
def test_an_empty_folder_is_filled(source, tmp_path, linked):
    """Such as one on another disk, which was made for the maps."""
    if linked:
        (tmp_path / 'disk').mkdir()
        os.symlink(tmp_path / 'disk', source.depth_dir)
    else:
        os.mkdir(source.depth_dir)
    assert generate_depth(source, _Ramp()) == 4
    assert os.path.islink(source.depth_dir) == linked
    assert _maps(source)[3].max() == 255


def test_a_link_to_maps_stays_when_they_are_made_again(source, tmp_path):
    assert generate_depth(source, _Ramp()) == 4
    expected = _maps(source)
    shutil.move(source.depth_dir, tmp_path / 'disk')
    os.symlink(tmp_path / 'disk', source.depth_dir)
    assert generate_depth(source, _Ramp()) == 0
    (tmp_path / 'disk' / '000002.png').unlink()
    assert generate_depth(source, _Ramp()) == 4
    assert os.path.islink(source.depth_dir)
    assert (_maps(source) == expected).all()
    assert sorted(path.name for path in tmp_path.iterdir()) == ['disk', 'train']
