# Copyright (c) mmfdta authors.
"""The ablation, tiny: variants differ in their adapters only, and are reused."""

import copy
import csv
import json

import pytest
import tiny_demo
import torch
from mmengine.config import Config
from mmengine.registry import PARAM_SCHEDULERS

from mmfdta.apis.config import find_config
from mmfdta.cli.main import main
from mmfdta.minidance import MiniDanceOptions, ablation
from mmfdta.minidance.records import SCORES, read_records
from mmfdta.minidance.stages import Stage
from mmfdta.structures.whole_files import write_text

PARTS = dict(S='detector.spatial_adapter', T='temporal_adapter', I='identity_adapter')


def run(folder, capsys, *more, work='work'):
    settings = tiny_demo.command_line()
    folders = ['--work-dir', str(folder / work), '--data-root', str(folder / 'data')]
    what = ['--seeds', '3', '5', '--variants', 'none', 'TA+IA', *more]
    code = main(['ablation', *folders, *what, '--cfg-options', *settings])
    return code, capsys.readouterr().out


def test_variants_are_trained_once_and_tabled(tmp_path, capsys):
    code, first = run(tmp_path, capsys)
    assert code == 0
    work = tmp_path / 'work'
    found = json.loads((work / 'ablation.json').read_text())
    assert {name: list(seeds) for name, seeds in found.items()} == {
        'none': ['seed3', 'seed5'],
        'TA+IA': ['seed3', 'seed5'],
    }
    for folder, kept in (('none', ''), ('TI', 'TI')):
        state = torch.load(work / 'seed3' / folder / 'fdta.pth', weights_only=True)
        for letter, part in PARTS.items():
            there = any(name.startswith(part) for name in state['state_dict'])
            assert there == (letter in kept)
    rows = (work / 'ablation.csv').read_text().splitlines()
    assert [row.split(',')[:2] for row in rows[1:]] == [
        ['none', '3'],
        ['none', '5'],
        ['TA+IA', '3'],
        ['TA+IA', '5'],
    ]
    assert (work / 'ablation.md').read_text() in first
    records = tmp_path / 'records' / 'file.json'
    code, second = run(tmp_path, capsys, '--records', str(records))
    assert code == 0
    assert second.count('reused') == 16
    assert 'done in' not in second
    # Another work dir has the same tables and trains nothing.
    code, third = run(tmp_path, capsys, '--records', str(records), work='other')
    assert code == 0
    assert third.count(f'reused from {records}') == 4
    other = tmp_path / 'other'
    assert not [path for path in other.iterdir() if path.is_dir()]
    for name in ('ablation', 'differences'):
        for suffix in ('md', 'csv', 'json'):
            path = f'{name}.{suffix}'
            assert (other / path).read_text() == (work / path).read_text()
        assert (other / f'{name}.md').read_text() in third
    differences = json.loads((other / 'differences.json').read_text())
    assert {(d['name'], d['reference']) for d in differences} == {('TA+IA', 'none')}
    assert [*differences[0]['by_seed']] == ['3', '5']
    for run_ in read_records(records):
        assert run_.code and run_.machine['threads'] >= 1
        assert {*run_.seconds} == {'detector', 'fdta', 'test'}
        assert {*run_.test} == {*run_.val} == {*SCORES}
    known = read_records(records)
    # The same trainings, scored on more sequences, which begin with the usual ones.
    code, fourth = run(
        tmp_path, capsys, '--records', str(records), '--eval-sequences', '2'
    )
    assert code == 0
    assert fourth.count('Train FDTA on clips: reused') == 4
    assert fourth.count('Track and score: done') == 4
    wider = tmp_path / 'data-2-sequences'
    assert not any((wider / 'train').iterdir())
    for split in ('val', 'test'):
        assert [p.name for p in sorted((wider / split).iterdir())] == [
            *('minidance0000', 'minidance0001')
        ]
        usual = tmp_path / 'data' / split
        files = [path for path in usual.rglob('*') if path.is_file()]
        assert len(files) > 40
        for path in files:
            copy_ = wider / split / path.relative_to(usual)
            assert copy_.read_bytes() == path.read_bytes()
    for split in ('', 'val'):
        scored = work / 'seed3' / 'none' / '2-sequences' / split
        tracks = (scored / 'benchmark' / 'runs').glob('*/tracks/*.txt')
        assert {p.stem for p in tracks} == {'minidance0000', 'minidance0001'}
    found = read_records(records)
    assert [run_ for run_ in found if run_.sequences is None] == known
    more = [run_ for run_ in found if run_.sequences == 2]
    scores = {(run_.name, run_.seed): run_.test for run_ in more}
    digests = ablation.Digests(dict(tiny_demo.settings()))
    in_work_dir, others = ablation.find_runs(work, digests, 2)
    assert not others
    assert len(more) == 4 and scores == {
        (run_.name, run_.seed): run_.test for run_ in in_work_dir
    }


def test_each_detector_trains_and_starts_fdta_on_it(tmp_path, capsys):
    """The learning rate is 0: FDTA ends with the weights of its detector."""
    folders = ['--work-dir', str(tmp_path / 'work'), '--data-root', str(tmp_path / 'd')]
    what = ['--seeds', '3', '--variants', 'TA+IA', '--detectors', 'dino']
    what += ['--sharing', 'detached', '--cfg-options', *tiny_demo.command_line()]
    assert main(['ablation', *folders, *what]) == 0
    seed = tmp_path / 'work' / 'dino' / 'seed3'
    detector = torch.load(seed / 'detector.pth', weights_only=True)['state_dict']
    trained = torch.load(seed / 'TI-detached' / 'fdta.pth', weights_only=True)
    host = {
        name.removeprefix('detector.host.'): value
        for name, value in trained['state_dict'].items()
        if name.startswith('detector.')
    }
    assert host.keys() == detector.keys()
    parameters = [k for k in host if 'running' not in k and 'batches' not in k]
    assert all(torch.equal(host[name], detector[name]) for name in parameters)
    rows = (tmp_path / 'work' / 'ablation.csv').read_text().splitlines()
    assert rows[1].startswith('"dino, TA+IA, detached",3,')


def test_each_way_of_depth_trains(tmp_path, capsys):
    """The learning rate is 0: FDTA ends with what it began with."""
    folders = ['--work-dir', str(tmp_path / 'work'), '--data-root', str(tmp_path / 'd')]
    what = ['--seeds', '3', '--variants', 'SA', 'none', '--spatial']
    what += ['gate', 'loss-only', 'from-start']
    settings = ['--cfg-options', *tiny_demo.command_line()]
    assert main(['ablation', *folders, *what, *settings]) == 0
    seed = tmp_path / 'work' / 'seed3'

    def read(path):
        weights = torch.load(seed / path, weights_only=True)['state_dict']
        return {k: v for k, v in weights.items() if 'spatial' in k or 'depth' in k}

    gate = read('S-gate/fdta.pth')
    gates = [v for k, v in gate.items() if k.endswith('depth_attn_gate')]
    assert len(gates) == 3 and not any(value.any() for value in gates)
    loss_only = read('S-loss-only/fdta.pth')
    assert loss_only and all('spatial_adapter' in name for name in loss_only)
    depth = {f'detector.{k}': v for k, v in read('detector-depth.pth').items()}
    from_start = read('S-from-start/fdta.pth')
    assert depth.keys() == from_start.keys() and not read('detector.pth')
    assert all(torch.equal(from_start[name], depth[name]) for name in depth)
    losses = (seed / 'train_detector-depth').glob('*/vis_data/scalars.json')
    assert all('loss_depth' in line for path in losses for line in path.open())
    with (tmp_path / 'work' / 'ablation.csv').open(newline='') as file:
        rows = list(csv.DictReader(file))
    names = ['none', 'SA, gate', 'SA, loss-only', 'SA, from-start']
    assert [row['variant'] for row in rows] == names


def test_every_combination_has_a_name_and_a_place_of_its_own(tmp_path):
    variants = ablation.known_variants()
    assert len({variant.name for variant in variants}) == len(variants)
    places = {variant.root(tmp_path) / 'seed0' / variant.key for variant in variants}
    assert len(places) == len(variants)
    named = {variant.name for variant in ablation.list_variants()}
    assert named == {*ablation.VARIANTS}
    ways = ablation.list_variants(['TA+IA', 'all'], spatial=['gate', 'released'])
    assert [variant.name for variant in ways] == ['TA+IA', 'all, gate', 'all']


def test_detectors_of_mmdetection_have_no_depth_from_the_start():
    with pytest.raises(ValueError, match='from-start with --detectors dino, expected'):
        ablation.list_variants(['all'], ['dino'], spatial=['gate', 'from-start'])


def test_a_condition_has_data_and_settings_of_its_own(tmp_path):
    roots, options = set(), set()
    for condition in ablation.CONDITIONS:
        variant = ablation.Variant('TA+IA', condition=condition)
        plan = variant.plan(tmp_path / 'w', tmp_path / 'data', 4, {})
        for config in ablation.make_configs(plan, variant):
            dataset = config.train_dataloader.dataset
            roots.add(dataset.data_root)
            options.add(MiniDanceOptions(**dataset.options))
        for loader in (config.val_dataloader, config.test_dataloader):
            assert loader.dataset.data_root == dataset.data_root
            assert loader.dataset.options == dataset.options
        end = '' if condition == 'default' else f'-{condition}'
        assert dataset.data_root == f'{tmp_path / "data"}{end}'
    assert len(roots) == len(options) == len(ablation.CONDITIONS)
    assert MiniDanceOptions() in options


def test_a_longer_training_has_the_same_schedule_stretched():
    """The learning rate halfway is that of the usual training halfway."""
    rates = []
    for length in (2600, 650, 5200):
        config = Config.fromfile(find_config('fdta_mini'))
        ablation.set_length(config, length)
        assert config.train_cfg.max_iters == config.train_cfg.val_interval == length
        optimiser = torch.optim.SGD([torch.zeros(1)], lr=1.0)
        schedulers = [
            PARAM_SCHEDULERS.build(dict(scheduler, optimizer=optimiser))
            for scheduler in config.param_scheduler
        ]
        found = []
        for step in range(length):
            if step in (length // 52, length // 2, length - 1):
                found.append(optimiser.param_groups[0]['lr'])
            for scheduler in schedulers:
                scheduler.step()
        rates.append(found)
    for found in rates[1:]:
        assert found == pytest.approx(rates[0], rel=0.03)
    usual, longer = ablation.list_variants(['none'], iterations=[2600, 5200])
    assert (usual, longer.name) == (ablation.Variant('none'), '5200 iterations, none')
    with pytest.raises(ValueError, match='--iterations: found 1, expected at least 2'):
        ablation.list_variants(iterations=[1])


def test_runs_are_found_by_their_folders(tmp_path):
    Variant, digests = ablation.Variant, ablation.Digests({})
    folders = {
        'seed0/none': Variant('none'),
        'seed10/STI-gate': Variant(spatial='gate'),
        'seed9/STI-gate': Variant(spatial='gate'),
        'seed0/STI-gate-5200': Variant(spatial='gate', iterations=5200),
        'crossings/seed2/TI-weak': Variant(
            'TA+IA', sharing='weak', condition='crossings'
        ),
        'dino/similarity-1.0/seed2/I-7': Variant(
            'IA', 'dino', condition='similarity-1.0', iterations=7
        ),
    }
    settings = {folder: digests.of(variant) for folder, variant in folders.items()}
    others = dict.fromkeys(('seed0/STI-odd', 'old/seed0/none', 'seedling/none'), '')
    # Of other settings, and of a version that did not note them.
    left_out = {'seed4/none': settings['seed9/STI-gate'], 'seed5/none': None}
    for folder, noted in (settings | others | left_out).items():
        scores = dict(HOTA=0.5, different=0.1, same=0.2)
        scores |= {} if noted is None else dict(settings=noted)
        write_text(tmp_path / folder / 'scores.json', json.dumps(scores))
    runs, count = ablation.find_runs(tmp_path, digests)
    assert [(run_.name, run_.seed) for run_ in runs] == [
        *(('none', 0), ('all, gate', 9), ('all, gate', 10)),
        *(('5200 iterations, all, gate', 0), ('crossings, TA+IA, weak', 2)),
        ('dino, similarity-1.0, 7 iterations, IA', 2),
    ]
    assert count == 2


def score_by_length(plan, variant, sequences=None):
    """One stage: all scores are the iterations of the training, in 10,000."""
    _, tracker = ablation.make_configs(plan, variant)
    path = plan.work_dir / variant.key / 'scores.json'

    def measure():
        scores = dict.fromkeys(SCORES, tracker.train_cfg.max_iters / 10_000)
        write_text(path, json.dumps(dict(test=scores, val=scores, similar={})))

    name = f'test-{variant.key}'
    inputs = json.dumps(tracker.to_dict())
    return [Stage(name, 'Score', 0, inputs, measure, (path,))]


def test_runs_of_other_settings_are_not_compared(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(ablation, 'list_stages', score_by_length)

    def tabled(variants, settings=None):
        chosen = ablation.list_variants(variants)
        ablation.run_ablation(tmp_path / 'w', tmp_path / 'd', [0, 1], chosen, settings)
        table = json.loads((tmp_path / 'w' / 'ablation.json').read_text())
        return {n: {s['HOTA'] for s in seeds.values()} for n, seeds in table.items()}

    usual = {'none': {0.26}, 'SA': {0.26}}
    assert tabled(['none', 'SA']) == usual
    assert 'left out' not in capsys.readouterr().out
    assert tabled(['SA'], {'train_cfg.max_iters': 100}) == {'SA': {0.01}}
    assert 'left out of the tables: 2 runs in' in capsys.readouterr().out
    assert not (tmp_path / 'w' / 'differences.md').exists()
    assert tabled(['none']) == {'none': {0.26}}
    assert tabled(['SA']) == usual
    # Version 0.2.0 did not note settings; what its stages noted tells them.
    for path in (tmp_path / 'w').glob('seed*/*/scores.json'):
        known = json.loads(path.read_text())
        del known['settings']
        path.write_text(json.dumps(known))
    capsys.readouterr()
    assert tabled(['none', 'SA']) == usual
    assert capsys.readouterr().out.count('reused') == 4


def test_at_least_one_sequence_is_scored(tmp_path, capsys):
    code = main(
        ['ablation', '--work-dir', str(tmp_path / 'w'), '--eval-sequences', '0']
    )
    assert code == 1
    said = capsys.readouterr().err
    assert '--eval-sequences: found 0, expected at least 1' in said
    assert not any(tmp_path.iterdir())


def test_a_reference_that_is_no_variant_is_named(tmp_path, capsys):
    code = main(['ablation', '--work-dir', str(tmp_path / 'w'), '--reference', 'al'])
    assert code == 1
    said = capsys.readouterr().err
    assert "--reference: found 'al', expected the name of a variant" in said
    assert not any(tmp_path.iterdir())


def test_settings_have_one_name_for_all_seeds_and_folders():
    """And another one where anything else differs, in either training."""
    found = ablation.Digests({}).of(ablation.Variant('TA+IA'))
    assert ablation.Digests({}).of(ablation.Variant('TA+IA')) == found
    names = {found}
    for settings, variant in (
        ({'optim_wrapper.optimizer.lr': 1e-5}, ablation.Variant('TA+IA')),
        ({tiny_demo.DATA + '.similarity': 0.5}, ablation.Variant('TA+IA')),
        ({}, ablation.Variant('all')),
        ({}, ablation.Variant('all', spatial='gate')),
        ({}, ablation.Variant('all', spatial='from-start')),
        ({}, ablation.Variant('all', sharing='weak')),
    ):
        names.add(ablation.Digests(settings).of(variant))
    assert len(names) == 7


def test_runs_of_an_earlier_version_are_read_with_their_reports(tmp_path):
    """Scores lay flat, without MOTA; the reports beside them had it."""
    folder, variant = tmp_path / 'seed4' / 'TI', ablation.Variant('TA+IA')
    flat = dict(HOTA=0.5, DetA=0.6, AssA=0.4, IDF1=0.7, IDSW=9, val=0.45)
    scores = dict(flat, different=0.1, same=0.2)
    write_text(folder / 'scores.json', json.dumps(scores))
    run_ = ablation.read_run(tmp_path / 'seed4', variant, 4)
    assert (run_.name, run_.seed, run_.val) == ('TA+IA', 4, dict(HOTA=0.45))
    assert run_.similar == dict(different=0.1, same=0.2) and 'MOTA' not in run_.test
    for part, shift in (('', 0), ('val', 0.1)):
        trackers = [dict(scores=dict.fromkeys(SCORES, 0.25 + shift))]
        report = dict(trackers=trackers, facts=dict(machine='device cpu, threads 1'))
        write_text(folder / part / 'benchmark/benchmark.json', json.dumps(report))
    write_text(tmp_path / 'seed4/.stages/train-TI.json', '{"seconds": 12.5}')
    run_ = ablation.read_run(tmp_path / 'seed4', variant, 4)
    assert run_.test == dict.fromkeys(SCORES, 0.25)
    assert run_.val == dict.fromkeys(SCORES, 0.35)
    assert run_.machine == dict(device='cpu', threads='1')
    assert run_.seconds == dict(fdta=12.5) and run_.code is None


@pytest.mark.parametrize(
    'option', [*('variants', 'detectors', 'sharing', 'spatial', 'conditions')]
)
def test_an_unknown_choice_is_named(option, tmp_path, capsys):
    code = main(['ablation', '--work-dir', str(tmp_path), f'--{option}', 'dno'])
    assert code == 1
    said = capsys.readouterr().err
    assert f"--{option}: found 'dno', expected" in said
    assert len(said.splitlines()) == 1
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize('detector', ablation.DETECTORS)
@pytest.mark.parametrize('name', ablation.VARIANTS)
def test_every_other_setting_stays(name, detector):
    kept = ablation.VARIANTS[name]
    path = find_config(ablation.DETECTORS[detector][1])
    full = Config.fromfile(path)
    config = ablation.without_adapters(Config.fromfile(path), kept)
    for adapter in ('temporal_adapter', 'identity_adapter'):
        wanted = full.model[adapter] if adapter[0].upper() in kept else None
        assert config.model.pop(adapter) == wanted
        full.model.pop(adapter)
    if 'S' not in kept:
        assert config.model.detector.spatial_adapter is None
        full.model.detector.spatial_adapter = None
        if detector == 'deformable-detr':
            full.model.detector.bbox_head.loss_depth = None
        else:
            full.model.detector.loss_depth = None
    assert config.model == full.model
    assert config.train_dataloader == full.train_dataloader
    assert config.param_scheduler == full.param_scheduler


@pytest.mark.parametrize('detector', ablation.DETECTORS)
@pytest.mark.parametrize('way', ablation.SPATIAL)
def test_a_way_changes_nothing_but_depth(way, detector):
    path = find_config(ablation.DETECTORS[detector][1])
    full = Config.fromfile(path)
    config = ablation.set_spatial(Config.fromfile(path), way)
    adapter = config.model.detector.spatial_adapter
    assert adapter.pop('with_embedding', True) == (way != 'loss-only')
    assert adapter.pop('feature_gradient', 0.0) == (way == 'loss-only')
    gated = config.model.detector.pop('depth_attn_cfg', {})
    assert gated == (dict(gated=True) if way == 'gate' else {})
    keys = full.optim_wrapper.paramwise_cfg.custom_keys
    if way == 'loss-only':
        for name in ('depth_attn', 'depth_norm', 'depth_layers'):
            keys.pop(name, None)
    assert config.to_dict() == full.to_dict()


def test_the_small_fdta_is_the_way_that_fresh_seeds_confirmed():
    released = Config.fromfile(find_config(ablation.DETECTORS['deformable-detr'][1]))
    config = ablation.set_spatial(released, 'loss-only').to_dict()
    assert config == Config.fromfile(find_config('fdta_mini')).to_dict()


def test_a_detector_with_depth_from_the_start_is_else_the_same():
    plain, tracker = (
        Config.fromfile(find_config(name))
        for name in ablation.DETECTORS['deformable-detr']
    )
    config = ablation.with_depth(copy.deepcopy(plain), tracker)
    model = tracker.model.detector
    assert config.model.spatial_adapter == model.spatial_adapter
    assert config.model.bbox_head.loss_depth == model.bbox_head.loss_depth
    steps = config.train_dataloader.dataset.pipeline
    names = [step.type for step in steps]
    assert names.index('LoadClipDepth') == names.index('DecodeClip') + 1
    steps.pop(names.index('LoadClipDepth'))
    config.model.spatial_adapter = config.model.bbox_head.loss_depth = None
    for part in ('model', 'train_dataloader', 'optim_wrapper', 'train_cfg'):
        assert config[part] == plain[part]
