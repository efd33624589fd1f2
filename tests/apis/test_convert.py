# Copyright (c) mmfdta authors.
"""The convert command, and its result in the models of the configs."""

import importlib.util
import json
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
import torch
from mmdet.registry import MODELS
from mmengine.config import Config
from mmengine.registry import init_default_scope

from mmfdta.apis.config import read_config
from mmfdta.apis.convert import check_fit
from mmfdta.apis.model_loading import build_tracker
from mmfdta.checkpoints import (
    FAMILIES,
    TARGETS,
    CheckpointError,
    ConversionReport,
    convert_state_dict,
)
from mmfdta.cli import convert as convert_verb
from mmfdta.cli.main import main

ROOT = Path(__file__).parents[2]


def load_module(path: str) -> ModuleType:
    """Import a helper of another package's tests."""
    spec = importlib.util.spec_from_file_location(Path(path).stem, ROOT / path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


weights = load_module('tests/golden/weights.py')


def build(config: str) -> torch.nn.Module:
    """The model of a config."""
    init_default_scope('mmdet')
    return MODELS.build(Config.fromfile(ROOT / 'configs' / f'{config}.py').model)


@pytest.fixture(scope='module')
def released(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A released DanceTrack checkpoint: full shapes, one stored value a tensor."""
    file = tmp_path_factory.mktemp('released') / 'dancetrack.pth'
    state_dict = {
        name: torch.full((1,) * len(shape), float(len(name))).expand(shape)
        for name, shape in weights.official_shapes('dancetrack').items()
    }
    for name, tensor in list(state_dict.items()):
        kept = weights.golden_weights().canonical_name(name)
        state_dict[name] = state_dict[kept]
        if 'bbox_embed' in name:
            state_dict[name] = tensor * 0 + float(kept.split('.')[2])
    torch.save({'model': state_dict}, file)
    return file


@pytest.mark.parametrize('cfg', ['dancetrack', 'sportsmot', 'bft'])
def test_released_checkpoint_loads_strictly(cfg: str) -> None:
    source = weights.formula_state_dict(cfg, 3)
    result = convert_state_dict(source).state_dict
    model = build(f'fdta_{cfg}')
    assert result.keys() == model.state_dict().keys()
    bins = model.detector.spatial_adapter.bin_values.clone()
    model.load_state_dict(result, strict=True)
    # The model computes the same bins as the released one.
    torch.testing.assert_close(bins, source['detr.depth_predictor.depth_bin_values'])
    parameters = dict(model.named_parameters())
    for ours, released in (
        ('id_decoder.rel_pos_embeds', 'id_decoder.rel_pos_embeds'),
        ('detector.query_embedding.weight', 'detr.query_embed.weight'),
        ('detector.level_embed', 'detr.transformer.level_embed'),
    ):
        assert torch.equal(parameters[ours], source[released])


def test_trained_model_goes_back_to_the_released_names(tmp_path: Path) -> None:
    torch.save({'state_dict': build('fdta_bft').state_dict()}, tmp_path / 'src.pth')
    files = [str(tmp_path / 'src.pth'), str(tmp_path / 'dst.pth')]
    assert main(['convert', *files, '--to', 'fdta']) == 0
    written = torch.load(tmp_path / 'dst.pth')['model']
    assert {n: tuple(t.shape) for n, t in written.items()} == (
        weights.official_shapes('bft')
    )


def test_config_is_checked_before_anything_is_written(
    released: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    dst = tmp_path / 'dst.pth'
    assert main(['convert', str(released), str(dst), '--config', 'fdta_sportsmot']) == 1
    assert 'id_decoder.rel_pos_embeds (6, 30, 16) instead of (6, 60, 16)' in (
        capsys.readouterr().err
    )
    assert not dst.exists()
    assert (
        main(['convert', str(released), str(dst), '--config', 'fdta_dancetrack']) == 0
    )
    assert 'fits fdta_dancetrack exactly' in capsys.readouterr().out


def test_a_config_that_loads_a_part_takes_the_whole(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    """What ``mmfdta track`` loads with the config, ``convert`` takes for it."""
    source, fdta = str(tmp_path / 'fdta.pth'), build('fdta_mini').state_dict()
    torch.save({'state_dict': fdta}, source)
    config = 'bytetrack_fdta-det_mini'
    model = build_tracker(read_config(config), source, 'cpu')
    assert torch.equal(model.detector.level_embed, fdta['detector.level_embed'])
    assert main(['convert', source, '--dry-run', '--config', config]) == 0
    said = capsys.readouterr().out
    assert f'fits {config}, which loads detector of it alone' in said
    head = 'detector.bbox_head.cls_branches.0.weight'
    torch.save({'state_dict': fdta | {head: fdta[head][:, :9]}}, source)
    assert main(['convert', source, '--dry-run', '--config', config]) == 1
    assert 'does not fit' in capsys.readouterr().err


def test_the_released_code_has_no_model_without_depth_attention(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    plain, attends = str(tmp_path / 'plain.pth'), str(tmp_path / 'attends.pth')
    torch.save({'state_dict': build('fdta_mini').state_dict()}, plain)
    assert main(['convert', plain, '--dry-run']) == 0
    assert main(['convert', plain, '--dry-run', '--to', 'motip']) == 0
    capsys.readouterr()
    assert main(['convert', plain, '--dry-run', '--to', 'fdta']) == 1
    assert '31 tensors are not in it' in capsys.readouterr().err
    # A model that attends to depth is not taken for one that does not.
    tensors = build('fdta-depth-attention_mini').state_dict()
    theirs = convert_state_dict(tensors, 'fdta', 'mmfdta').state_dict
    depth = re.compile('norm_depth|cross_attn_depth|depth_(encoder|pos_embed)')
    kept = {name: tensor for name, tensor in theirs.items() if not depth.search(name)}
    torch.save({'state_dict': kept}, attends)
    assert main(['convert', attends, '--dry-run']) == 1
    assert '31 tensors are not in it' in capsys.readouterr().err
    lost = [name for name in tensors if '.depth_attn.' in name]
    for name in lost:
        del tensors[name]
    torch.save({'state_dict': tensors}, attends)
    assert main(['convert', attends, '--dry-run']) == 1
    assert f'{len(lost)} tensors are not in it' in capsys.readouterr().err


def test_parts_with_files_of_their_own_need_not_be_in_it() -> None:
    config = read_config('strongsort_yolox-x_mot17')
    model = torch.nn.ModuleDict(
        dict(detector=torch.nn.Linear(2, 1), embeddings=torch.nn.ModuleDict())
    )
    model.embeddings['network'] = torch.nn.Linear(2, 2)
    weights = {n: t for n, t in model.state_dict().items() if 'detector' in n}
    report = ConversionReport('yolox', 'YOLOX', 'mmfdta')
    said = check_fit(weights, report, model, config, 'strongsort')
    assert said == 'fits strongsort exactly'
    del weights['detector.bias']
    with pytest.raises(CheckpointError, match='1 missing: detector.bias') as error:
        check_fit(weights, report, model, config, 'strongsort')
    assert 'embeddings' not in str(error.value)
    config = Config(dict(checkpoint_modules=['detector']))
    with pytest.raises(CheckpointError, match='it has no weights of detector, all'):
        check_fit({'id_decoder.w': torch.ones(1)}, report, model, config, 'sort')


def test_plain_detector_starts_fdta(
    released: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    detector = str(tmp_path / 'detector.pth')
    assert main(['convert', str(released), detector, '--target', 'detector']) == 0
    capsys.readouterr()
    assert main(['convert', detector, '--dry-run', '--config', 'fdta_dancetrack']) == 0
    out = capsys.readouterr().out
    assert 'start from scratch' in out
    assert 'load_from' in out


def test_dry_run_reports_and_writes_no_checkpoint(
    released: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    report = tmp_path / 'report.json'
    assert main(['convert', str(released), '--dry-run', '--report', str(report)]) == 0
    assert 'FDTA as released (fdta)' in capsys.readouterr().out
    content = json.loads(report.read_text())
    assert content['counts'] == {'used': 818, 'generated': 59, 'dropped': 41}
    assert len(content['tensors']) == 818 + 59 + 41
    assert list(tmp_path.iterdir()) == [report]


def test_a_report_replaces_no_checkpoint(
    released: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    before, result = released.read_bytes(), tmp_path / 'fdta.pth'
    link = tmp_path / 'link.json'
    link.symlink_to(released)
    for report in (released, link, result):
        command = ['convert', str(released), str(result), '--report', str(report)]
        assert main(command) == 1
        assert 'would replace a checkpoint of this call' in capsys.readouterr().err
    assert released.read_bytes() == before
    assert not result.exists() and link.is_symlink()


def test_classes_of_the_command_line(tmp_path: Path) -> None:
    head = torch.arange(91.0)[:, None]
    samples = load_module('tests/checkpoints/samples.py')
    source = samples.deformable_detr(91)
    source |= {n: head for n in source if n.startswith('class_embed') and 'weight' in n}
    torch.save({'model': source}, tmp_path / 'src.pth')
    files = [str(tmp_path / 'src.pth'), str(tmp_path / 'dst.pth')]
    for option, rows in (
        ([], [1]),
        (['--class-name', 'bird', 'person'], [15, 1]),
        (['--class-index', '3', '1'], [3, 1]),
        (['--keep-classes'], list(range(91))),
    ):
        assert main(['convert', *files, *option]) == 0
        written = torch.load(files[1])['state_dict']
        weight = written['detector.bbox_head.cls_branches.2.weight']
        assert weight.flatten().tolist() == rows


@pytest.mark.parametrize(
    'arguments', [['src.pth'], ['src.pth', 'dst.pth', '--dry-run'], []]
)
def test_wrong_arguments(arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(['convert', *arguments])
    assert stop.value.code == 2


def test_tool_ends_with_one_line_on_a_bad_file(tmp_path: Path) -> None:
    (tmp_path / 'src.pth').write_bytes(b'')
    done = subprocess.run(
        [sys.executable, 'tools/convert_checkpoint.py', str(tmp_path / 'src.pth'),
         str(tmp_path / 'dst.pth')],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    assert 'src.pth: the file is empty (0 bytes)' in done.stderr
    assert 'Traceback' not in done.stderr
    assert not (tmp_path / 'dst.pth').exists()


def test_the_command_names_all_families_and_targets() -> None:
    assert {family.key for family in FAMILIES} == set(convert_verb.FAMILIES)
    assert TARGETS == convert_verb.TARGETS


@pytest.mark.parametrize('name', ['deformable_detr_mini', 'motip_mini', 'motr_mini'])
def test_small_models_are_converted(tmp_path, name, capsys):
    """A ResNet-18 has no third convolution; three levels need no level of their own."""
    state_dict = build(name).state_dict()
    source, result = tmp_path / 'mini.pth', tmp_path / 'out.pth'
    torch.save({'state_dict': state_dict}, source)
    goal = 'motr_mini' if name == 'motr_mini' else 'fdta_mini'
    assert main(['convert', str(source), str(result), '--config', goal]) == 0
    assert f'fits {goal}' in capsys.readouterr().out
    plain = ['--target', 'detector', '--config', 'deformable_detr_mini']
    assert main(['convert', str(source), str(result), *plain]) == 0
    assert 'fits deformable_detr_mini exactly' in capsys.readouterr().out
    written = torch.load(result, weights_only=True)['state_dict']
    for key, tensor in written.items():
        own = key if name.startswith('deformable') else f'detector.{key}'
        assert torch.equal(tensor, state_dict[own])
    # What a small model has must be there all the same.
    del state_dict[next(key for key in state_dict if 'layer2.1.conv2' in key)]
    torch.save({'state_dict': state_dict}, source)
    assert main(['convert', str(source), str(result)]) == 1
    assert 'layer2.1.conv2.weight' in capsys.readouterr().err


def test_a_detector_of_mmdetection_is_converted_for_a_config(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    config = tmp_path / 'fdta_on_dino.py'
    base = ROOT / 'configs/fdta_dino-r50_dancetrack.py'
    heads = dict(num_layers=1)
    config.write_text(
        f'_base_ = [{str(base)!r}]\nmodel = dict(match_layer=-1, detector='
        f'dict(host=dict(num_queries=20, encoder={heads}, decoder={heads})))\n'
    )
    model = MODELS.build(Config.fromfile(config).model)
    names = model.state_dict()
    zoo = {
        n.removeprefix('detector.host.'): torch.full(
            (80 if 'cls_branches' in n or 'label_embedding' in n else t.shape[0],
             *t.shape[1:]) if t.dim() else (), 3 if t.dim() else 0,
        )
        for n, t in names.items()
        if n.startswith('detector.host.')
    }  # fmt: skip
    source, result = str(tmp_path / 'dino.pth'), str(tmp_path / 'host.pth')
    torch.save(dict(state_dict=zoo), source)
    assert main(['convert', source, result]) == 1
    assert '--config NAME' in capsys.readouterr().err
    report = tmp_path / 'report.json'
    options = ['--config', str(config), '--report', str(report)]
    assert main(['convert', source, result, *options]) == 0
    out = capsys.readouterr().out
    assert 'DINO of MMDetection' in out and '0 person of 80' in out
    assert 'start from scratch; load it with load_from' in out
    written = torch.load(result)['state_dict']
    host = {n: t for n, t in names.items() if n.startswith('detector.host.')}
    assert {n: t.shape for n, t in written.items()} == {
        n: t.shape for n, t in host.items()
    }
    counts = json.loads(report.read_text())['counts']
    assert counts == dict(used=len(zoo), generated=0, dropped=0)
    assert main(['convert', source, result, *options, '--class-name', 'dog']) == 0
    assert '16 dog of 80 (chosen)' in capsys.readouterr().out
    assert main(['convert', source, result, *options, '--to', 'motip']) == 1
    assert 'leave them out' in capsys.readouterr().err
    # 80 classes of the file's own, of which the person is the last.
    plants = [*(f'plant{i}' for i in range(79)), 'person']
    meta = dict(dataset_meta=dict(classes=plants))
    torch.save(dict(state_dict=zoo, meta=meta), source)
    assert main(['convert', source, result, *options]) == 0
    assert '79 of 80 (chosen)' in capsys.readouterr().out
    assert torch.load(result)['meta']['dataset_meta']['classes'] == ('person',)
    assert main(['convert', source, result, *options, '--class-name', 'plant3']) == 0
    assert '3 plant3 of 80 (chosen)' in capsys.readouterr().out


def test_our_own_file_on_a_detector_of_mmdetection_is_recognised(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    names = build('fdta_dino-r50_mini').state_dict()
    source, result = str(tmp_path / 'fdta.pth'), str(tmp_path / 'copy.pth')
    averaged = {'ema_detector.host.level_embed': names['detector.host.level_embed']}
    torch.save(dict(state_dict=names | averaged), source)
    assert main(['convert', source, result]) == 0
    out = capsys.readouterr().out
    assert 'mmfdta, on a detector of MMDetection' in out and 'from scratch' not in out
    assert torch.load(result)['state_dict'].keys() == names.keys()
    for options, said in (
        (['--to', 'motip'], 'MOTIP as released has no names for'),
        (['--class-index', '0'], '--config NAME'),
    ):
        assert main(['convert', source, result, *options]) == 1
        assert said in capsys.readouterr().err
    torch.save(dict(state_dict=names | {'nonsense.weight': torch.zeros(1)}), source)
    assert main(['convert', source, result]) == 1
    assert 'nonsense.weight is not a parameter' in capsys.readouterr().err
