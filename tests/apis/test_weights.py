# Copyright (c) mmfdta authors.
"""The list of published weights, and what `--checkpoint` may name."""

import dataclasses
import hashlib
import importlib.util
import json
import os
import re
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from loopback import FileServer
from mmdet.registry import DATASETS
from pages import parser_of_verb

from mmfdta.apis import downloads, weights
from mmfdta.apis.config import find_config, load_config
from mmfdta.apis.downloads import DownloadError
from mmfdta.apis.weights import cache_folder, commands_of, find_checkpoint
from mmfdta.checkpoints import PUBLISHED
from mmfdta.cli.main import main

ROOT = Path(__file__).resolve().parents[2]
MMDET = Path(importlib.util.find_spec('mmdet').origin).parent
# What the tests fetch: no published file is small.
CONTENT = b'weights' * 1000
HASHED = PUBLISHED['yolox-tiny']
UNKNOWN = PUBLISHED['motip-bft']


@pytest.fixture(autouse=True)
def empty_cache(tmp_path, monkeypatch):
    monkeypatch.setattr(torch.hub, '_hub_dir', str(tmp_path / 'hub'))
    monkeypatch.setattr(downloads, '_PAUSE', 0)
    for name in ('http_proxy', 'HTTP_PROXY', 'https_proxy', 'HTTPS_PROXY'):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def mirror(monkeypatch):
    with FileServer(CONTENT) as server:
        monkeypatch.setenv('MMFDTA_MIRROR', server.root)
        digits = hashlib.sha256(CONTENT).hexdigest()[:8]
        known = dataclasses.replace(HASHED, sha256_prefix=digits)
        monkeypatch.setattr(weights, 'PUBLISHED', {**PUBLISHED, known.name: known})
        yield server


def test_names_files_and_places_are_unique():
    for attribute in ('name', 'file'):
        values = [getattr(w, attribute) for w in PUBLISHED.values()]
        assert len(set(values)) == len(values)
    for name, entry in PUBLISHED.items():
        assert re.fullmatch('[a-z0-9-]+', name) and name == entry.name
        assert entry.address or entry.page or entry.part_of_package, name
        assert entry.licence, name
        for page in (entry.source, *(figure.source for figure in entry.figures)):
            assert page.startswith('https://') or (ROOT / page).is_file(), name


def test_configs_and_published_weights_name_each_other():
    for entry in PUBLISHED.values():
        assert entry.configs
        for config in entry.configs:
            assert find_config(config).is_file()
    named = {}
    for path in (ROOT / 'configs').glob('*.py'):
        found = re.search(
            r"(?:^checkpoint = |^load_from = |init_cfg=.*checkpoint=)'([\w-]+)'",
            path.read_text(),
            re.M,
        )
        if found:
            named[path.stem] = found[1]
            assert path.stem in PUBLISHED[found[1]].configs
    assert named['bytetrack_yolox-tiny_coco'] == 'yolox-tiny'
    assert named['fdta_pets'] == 'minidance'


def test_what_mmdetection_says_of_its_weights():
    published = {
        str(address): model
        for folder in ('yolox', 'dino', 'ddq', 'sparse_rcnn', 'qdtrack', 'deepsort')
        for model in yaml.safe_load(
            (MMDET / f'.mim/configs/{folder}/metafile.yml').read_text()
        )['Models']
        if 'Weights' in model
        for address in np.atleast_1d(model['Weights'])
    }
    found = [w for w in PUBLISHED.values() if w.address in published]
    assert {w.name for w in found} == {
        *('yolox-tiny', 'yolox-s', 'yolox-x'),
        *('dino-r50', 'dino-swin-l', 'ddq-r50', 'sparse-rcnn-r50', 'qdtrack-mot17'),
        *('faster-rcnn-mot17', 'reid-tracktor'),
    }
    for entry in found:
        model = published[entry.address]
        for figure in entry.figures:
            assert figure.scores == model['Results'][0]['Metrics']
            assert figure.origin == 'MMDetection'
            of_detector = f'configs/{figure.config}.py' == model['Config']
            assert of_detector == (figure.data == 'COCO'), entry.name
        # torch.hub's own rule for the hash in a name.
        digits = torch.hub.HASH_REGEX.search(entry.file)[1]
        assert entry.sha256_prefix == digits
        assert entry.address.endswith(f'/{entry.file}')


def test_scores_and_places_are_those_of_the_index_of_models():
    index = yaml.safe_load((ROOT / 'model-index.yml').read_text())
    models = {model['Name']: model for model in index['Models']}
    released = compared = 0
    for entry in PUBLISHED.values():
        place = models[entry.configs[0]]['Metadata'].get('Released Weights')
        if place is not None and entry.figures:
            assert (entry.address or entry.page).startswith(place)
            released += 1
        for figure in entry.figures:
            model = models.get(figure.config, {})
            origin = model.get('Metadata', {}).get('Origin of Results')
            for result in model.get('Results', []) if origin == 'published' else ():
                if figure.scored_on == result['Dataset'].replace('-', ' '):
                    assert dict(figure.scores) == result['Metrics']
                    compared += 1
    assert (released, compared) == (16, 14)


@pytest.mark.parametrize(
    'variables', [{}, {'XDG_CACHE_HOME': '/x'}, {'TORCH_HOME': '~/t'}]
)
def test_fetched_files_are_where_pytorch_keeps_its_own(variables, monkeypatch):
    monkeypatch.setattr(torch.hub, '_hub_dir', None)
    for name in ('TORCH_HOME', 'XDG_CACHE_HOME'):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    expected = Path(torch.hub.get_dir(), 'checkpoints')
    assert cache_folder() == expected
    monkeypatch.delitem(sys.modules, 'torch')
    assert cache_folder() == expected


def test_listing_loads_no_pytorch():
    code = (
        'import sys; from mmfdta.cli.main import main\n'
        'main(["weights"]); main(["weights", "--json"])\n'
        'assert not {"torch", "mmengine", "av"} & set(sys.modules)'
    )
    subprocess.run(
        [sys.executable, '-c', code],
        env={**os.environ, 'PYTHONPATH': str(ROOT)},
        check=True,
        stdout=subprocess.DEVNULL,
    )


def test_the_list_fits_a_terminal_and_names_all(capsys):
    assert main(['weights']) == 0
    *lines, folder = capsys.readouterr().out.splitlines()
    assert folder.startswith(str(cache_folder()))
    assert max(map(len, lines)) <= 100
    begins = {line.split()[0]: line for line in lines if line.startswith('    ')}
    configs = {line.strip() for line in lines}
    assert set(PUBLISHED) <= set(begins)
    for entry in PUBLISHED.values():
        assert entry.configs[0] in begins[entry.name]
        assert set(entry.configs[1:]) <= configs
        assert f'  {entry.source}' in lines
    assert main(['weights', '--json']) == 0
    listed = json.loads(capsys.readouterr().out)
    assert {facts['name']: facts['address'] for facts in listed} == {
        name: entry.address for name, entry in PUBLISHED.items()
    }
    assert [facts['name'] for facts in listed if facts['here']] == ['minidance']


def test_what_to_expect_is_shown_without_fetching(mirror, capsys):
    assert main(['weights', '--expected', 'motip-dancetrack', HASHED.name]) == 0
    shown = capsys.readouterr()
    assert not mirror.asked and shown.err == ''
    lines = [line.strip() for line in shown.out.splitlines()]
    # Both splits with all scores, the commands below the figure that they get.
    test = lines.index('DanceTrack test: HOTA 69.6, DetA 80.4, AssA 60.4')
    val = lines.index(
        'DanceTrack val: HOTA 64.07, DetA 75.41, AssA 54.69, MOTA 85.56, IDF1 69.11'
    )
    assert 'https://www.codabench.org' in ' '.join(lines[test:val])
    assert 'mmfdta test motip_dancetrack motip-dancetrack' in lines[val:]
    assert 'COCO val: box AP 32.0' in lines
    assert main(['weights', '--expected']) == 0
    everything = capsys.readouterr().out
    for entry in PUBLISHED.values():
        assert f'{entry.name}  {entry.family}' in everything
    for text in ('  DanceTrack val: not published', '  SportsMOT val: not published'):
        assert everything.count(text) == 2
    assert main(['weights', '--expected', '--json', 'dancetrack']) == 0
    (facts,) = json.loads(capsys.readouterr().out)
    (figure,) = facts['figures']
    assert not facts['here'] and figure['scores'] == facts['scores']
    assert [text.split()[1] for text in figure['commands']] == ['test', 'submit']


@pytest.mark.parametrize(
    ('name', 'figure'),
    [
        (name, figure)
        for name, entry in PUBLISHED.items()
        for figure in entry.figures
        if figure.data != 'COCO'
    ],
    ids=lambda value: value if isinstance(value, str) else value.scored_on,
)
def test_commands_test_the_split_of_their_figure(name, figure):
    """As the data sets, configs and parsers understand them."""
    words = [c.split() for c in commands_of(PUBLISHED[name], figure)]
    options = parser_of_verb('test').parse_args(words[0][2:])
    assert options.checkpoint == name
    config = load_config(options.config, options.cfg_options)
    dataset = DATASETS.build(dict(config.test_dataloader.dataset, lazy_init=True))
    assert dataset.BENCHMARK.title == figure.data
    half = getattr(dataset, 'half', None)
    assert (f'{half} halves' if half else dataset.split) == figure.split
    hidden = dataset.split in dataset.HIDDEN_SPLITS
    assert bool(figure.server) == hidden == bool(options.out)
    packs = dataset.BENCHMARK.zip_folder is not None
    assert len(words) == 1 + (hidden and packs)
    for pack in words[1:]:
        packed = parser_of_verb('submit').parse_args(pack[2:])
        assert str(packed.results) == options.out
        assert packed.data.name == figure.split


def test_the_command_fetches_and_prints_paths(mirror, tmp_path, capsys):
    assert main(['weights', HASHED.name, UNKNOWN.name]) == 0
    shown = capsys.readouterr()
    paths = [Path(line) for line in shown.out.splitlines()]
    assert paths == [cache_folder() / HASHED.file, cache_folder() / UNKNOWN.file]
    assert [path.read_bytes() for path in paths] == [CONTENT] * 2
    assert 'fetching ' in shown.err
    assert [path for _, path, _ in mirror.asked] == [
        HASHED.address.removeprefix('https://download.openmmlab.com'),
        UNKNOWN.address.removeprefix('https://github.com'),
    ]
    main(['weights'])
    listed = capsys.readouterr().out
    assert listed.count('here, 7.0 kB') == 2
    options = ['--dir', 'usb', '--no-progress', '--json']
    assert main(['weights', UNKNOWN.name, *options]) == 0
    shown = capsys.readouterr()
    (facts,) = json.loads(shown.out)
    assert facts['here'] and Path(facts['path']).resolve().parent == tmp_path / 'usb'
    assert shown.err == ''


def test_what_comes_with_the_package_is_copied_to_a_folder(tmp_path, capsys):
    assert main(['weights', 'minidance']) == 0
    package = Path(capsys.readouterr().out.strip())
    assert main(['weights', 'minidance', '--dir', 'usb']) == 0
    copied = tmp_path / capsys.readouterr().out.strip()
    assert copied.parent == tmp_path / 'usb' and not copied.samefile(package)
    assert copied.read_bytes() == package.read_bytes()
    assert main(['weights', 'minidance', '--dir', 'usb', '--json']) == 0
    (facts,) = json.loads(capsys.readouterr().out)
    assert facts['here'] and facts['path'] == f'usb/{copied.name}'
    copied.write_bytes(b'half of it')
    assert main(['weights', 'minidance', '--dir', 'usb']) == 1
    assert 'it has 10 bytes, expected' in capsys.readouterr().err
    assert find_checkpoint('minidance') == package


WITHOUT_PYTORCH = """
import sys

class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.partition('.')[0] in ('torch', 'mmengine', 'mmcv', 'mmdet'):
            raise ModuleNotFoundError(name=name.partition('.')[0])

sys.meta_path.insert(0, Missing())
from mmfdta.cli.main import main
sys.exit(main(sys.argv[1:]))
"""


@pytest.mark.parametrize(
    ('arguments', 'code'),
    [
        (['weights'], 0),
        (['weights', '--expected'], 0),
        (['weights', 'minidance', '--dir', 'usb'], 0),
        (['new-tracker', 'GlueTracker', '--into', 'glue'], 0),
        (['train', 'fdta_mini'], 1),
    ],
)
def test_commands_of_the_small_install(arguments, code, tmp_path):
    """docs/install.md names those that need no PyTorch."""
    command = [sys.executable, '-c', WITHOUT_PYTORCH, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == code, done.stderr
    assert ('this needs torch' in done.stderr) == bool(code)


@pytest.mark.parametrize(
    ('name', 'said'),
    [
        ('yolox-tini', "no published weights 'yolox-tini'; expected one of yolox-tiny"),
        ('YOLOX_Nano', 'expected one of yolox-nano'),
        ('motr-mot17', 'only a browser gets this file; open https://drive.google.com/'),
    ],
)
def test_what_the_command_cannot_fetch(name, said, capsys):
    assert main(['weights', name]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith('mmfdta weights: ') and said in line


def test_a_name_is_fetched_once(mirror):
    first = find_checkpoint(HASHED.name, progress=False)
    assert find_checkpoint(HASHED.name) == first
    assert find_checkpoint(HASHED.address) == first
    assert first == cache_folder() / HASHED.file
    assert len(mirror.asked) == 1


def test_a_file_that_only_a_browser_gets_works_by_its_name_when_it_is_there():
    entry = PUBLISHED['motr-dancetrack']
    with pytest.raises(FileNotFoundError) as caught:
        find_checkpoint(entry.name)
    place = cache_folder() / entry.file
    assert str(caught.value).endswith(f'open {entry.page} and put it as {place}')
    place.parent.mkdir(parents=True)
    place.write_text('<html>Google Drive cannot scan this file for viruses')
    with pytest.raises(DownloadError, match='it is a web page'):
        find_checkpoint(entry.name)
    place.write_bytes(CONTENT)
    assert find_checkpoint(entry.name) == place


def test_a_damaged_file_in_its_place_is_refused(mirror):
    path = find_checkpoint(HASHED.name, progress=False)
    path.write_bytes(CONTENT[:-1])
    with pytest.raises(DownloadError, match=r'^\S+: its SHA-256 .*; remove it to'):
        find_checkpoint(HASHED.name)
    assert path.is_file()


def test_a_file_comes_before_a_name_and_a_name_before_a_folder(mirror, tmp_path):
    (tmp_path / UNKNOWN.name).mkdir()
    assert find_checkpoint(UNKNOWN.name, progress=False).parent == cache_folder()
    (tmp_path / HASHED.name).touch()
    assert find_checkpoint(HASHED.name) == Path(HASHED.name)
    assert find_checkpoint((tmp_path / HASHED.name).as_uri()).samefile(HASHED.name)
    assert find_checkpoint(Path(HASHED.name)) == Path(HASHED.name)


@pytest.mark.parametrize(
    ('text', 'said'),
    [
        ('no.pth', 'there is no checkpoint no.pth'),
        ('a/b', 'there is no checkpoint a/b'),
        ('dancetrac', 'there is no checkpoint dancetrac, did you mean dancetrack?'),
        ('zebra', 'there is no checkpoint zebra; mmfdta weights lists the names of '),
    ],
)
def test_what_is_neither_file_nor_name(text, said):
    with pytest.raises(FileNotFoundError) as caught:
        find_checkpoint(text)
    assert str(caught.value).startswith(said)


def test_the_config_names_what_is_taken_by_default(mirror):
    config = dict(checkpoint=HASHED.name)
    assert find_checkpoint(None, config, progress=False).name == HASHED.file
    for config in (None, {}):
        with pytest.raises(ValueError, match='no checkpoint is named'):
            find_checkpoint(None, config)


def test_any_address(capsys):
    with FileServer(CONTENT) as server:
        digits = server.digest[:8]
        path = find_checkpoint(f'{server.root}/a/w-{digits}.pth?raw=1', progress=False)
        assert path == cache_folder() / f'w-{digits}.pth'
        with pytest.raises(DownloadError, match='expected 00000000'):
            find_checkpoint(f'{server.root}/a/w-00000000.pth')
        with pytest.raises(DownloadError, match='names no file'):
            find_checkpoint(server.root)
        # Addresses that end alike are two files.
        one, other = (
            find_checkpoint(f'{server.root}/{name}/latest.pth', progress=False)
            for name in 'ab'
        )
        assert one != other
        # What changes under an address is fetched anew.
        server.content, server.tag = CONTENT * 2, '"2"'
        again = find_checkpoint(f'{server.root}/a/latest.pth', progress=False)
        assert again == one and one.read_bytes() == CONTENT * 2
        server.status = [500]
        capsys.readouterr()
        assert find_checkpoint(f'{server.root}/a/latest.pth') == one
        assert 'does not say whether it has changed; taking' in capsys.readouterr().err
    assert find_checkpoint(f'{server.root}/a/latest.pth') == one


def test_a_file_that_changed_is_fetched_once_by_two_at_once():
    with FileServer(CONTENT) as server:
        address = f'{server.root}/latest.pth'
        path = find_checkpoint(address, progress=False)
        server.content, server.tag = CONTENT * 2, '"2"'
        server.asked.clear()
        server.wait, found = threading.Event(), []

        def find():
            found.append(find_checkpoint(address, progress=False).read_bytes())

        both = [threading.Thread(target=find) for _ in range(2)]
        for thread in both:
            thread.start()
        while len(server.asked) < 2:  # both ask whether it has changed
            time.sleep(0.01)
        server.wait.set()
        for thread in both:
            thread.join(30)
        assert found == [CONTENT * 2] * 2
        assert [method for method, *_ in server.asked].count('GET') == 1
        server.content, server.tag = CONTENT, '"3"'
        server.status = [200, 200, 403]  # to HEAD, HEAD and GET
        with pytest.raises(DownloadError, match='403'):
            find_checkpoint(address, progress=False)
    assert path.read_bytes() == CONTENT * 2


def test_a_mirror_may_have_a_folder(monkeypatch):
    monkeypatch.setenv('MMFDTA_MIRROR', 'http://mirror/weights/')
    assert weights.address_of(UNKNOWN) == UNKNOWN.address.replace(
        'https://github.com', 'http://mirror/weights'
    )
    assert weights.address_of(PUBLISHED['motr-mot17']) is None
    monkeypatch.setenv('MMFDTA_MIRROR', '127.0.0.1:80')
    with pytest.raises(ValueError, match=r"^MMFDTA_MIRROR: found '127.0.0.1:80', expe"):
        find_checkpoint(UNKNOWN.name)


def test_another_folder_that_cannot_be_written(capsys):
    assert main(['weights', 'yolox-nano', '--dir', '/proc/x']) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith('mmfdta weights: /proc/x: cannot write there (')
    assert 'name another FOLDER' in line and 'TORCH_HOME' not in line
