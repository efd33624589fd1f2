# Copyright (c) mmfdta authors.
"""Weights of MMDetection's zoo in the hosts of the configs.

Files of the zoo are stood in for by MMDetection's own models, built from its configs:
all names and shapes of a file, with values of our own.
"""

import copy
from pathlib import Path

import mmdet
import pytest
import torch
from mmdet.registry import MODELS
from mmdet.structures import DetDataSample, TrackDataSample
from mmengine.config import Config
from mmengine.registry import init_default_scope
from torch import Tensor, nn

import mmfdta.registry  # noqa: F401
from mmfdta.checkpoints import (
    CheckpointError,
    CheckpointMismatchError,
    adapt_weights,
    convert_state_dict,
    matching_weights,
)
from mmfdta.checkpoints.adaptation import convert_for_host
from mmfdta.checkpoints.class_heads import COCO_NAMES, ClassChoice
from mmfdta.checkpoints.hosts import fit_host

from . import samples
from .test_adaptation import Model, equal

CONFIGS = Path(__file__).parents[2] / 'configs'
ZOO = Path(mmdet.__file__).parent / '.mim/configs'
# The zoo's config, ours, and tensors in it that have a row for each class.
HOSTS = {
    'dino': ('dino/dino-4scale_r50_8xb2-12e_coco', 'fdta_dino-r50_dancetrack', 15),
    'swin': (
        'dino/dino-5scale_swin-l_8xb2-12e_coco',
        'fdta_dino-swin-l_dancetrack',
        15,
    ),
    'ddq': ('ddq/ddq-detr-4scale_r50_8xb2-12e_coco', 'fdta_ddq-r50_dancetrack', 29),
    'sparse': (
        'sparse_rcnn/sparse-rcnn_r50_fpn_300-proposals_crop-ms-480-800-3x_coco',
        'fdta_sparse-rcnn-r50_dancetrack',
        12,
    ),
}
# Swin does not build without memory, and Swin-L takes much of it.
SMALL_SWIN = dict(embed_dims=24, depths=[2, 1, 1, 1], num_heads=[1, 2, 2, 2])
OTHERS = {
    'two stages': 'deformable_detr/deformable-detr-refine-twostage_r50_16xb2-50e_coco',
    'one stage': 'deformable_detr/deformable-detr-refine_r50_16xb2-50e_coco',
    'DAB-DETR': 'dab_detr/dab-detr_r50_8xb2-50e_coco',
    'Conditional DETR': 'conditional_detr/conditional-detr_r50_8xb2-50e_coco',
    'DETR': 'detr/detr_r50_8xb2-150e_coco',
}
PERSON, DOG = COCO_NAMES.index('person'), COCO_NAMES.index('dog')


def build(config: dict) -> nn.Module:
    """Build a detector of MMDetection without values."""
    init_default_scope('mmdet')
    config = copy.deepcopy(dict(config))
    config['backbone'].pop('init_cfg', None)
    if config['type'] == 'DINO':
        config['type'] = 'ZooDINO'  # as the zoo's files, in either family
    is_swin = config['backbone']['type'] == 'SwinTransformer'
    if is_swin:
        config['backbone'].update(SMALL_SWIN)
        config['neck']['in_channels'] = [24, 48, 96, 192]
    with torch.device('cpu' if is_swin else 'meta'):
        return MODELS.build(config)


def host_config(name: str) -> dict:
    """The host of a config of ours."""
    return Config.fromfile(CONFIGS / f'{HOSTS[name][1]}.py').model.detector.host


def fill(shapes: dict[str, Tensor]) -> dict[str, Tensor]:
    """Give each tensor values of its own, which differ from row to row."""
    filled = {}
    for number, (name, tensor) in enumerate(shapes.items()):
        values = torch.tensor(float(number))
        if tensor.dim():
            rows = number + torch.arange(len(tensor)) / 1024
            values = rows.view(-1, *[1] * (tensor.dim() - 1)).expand(tensor.shape)
        filled[name] = values
    return filled


def zoo_file(config: str) -> dict:
    """What a file of the zoo holds."""
    model = build(Config.fromfile(ZOO / f'{config}.py').model)
    meta = dict(dataset_meta=dict(CLASSES=COCO_NAMES))
    return dict(state_dict=fill(model.state_dict()), meta=meta)


def tracker(host: nn.Module, **others: Tensor) -> Model:
    """A tracker with a host, as far as names and shapes go."""
    names = {f'detector.host.{n}': torch.empty(t.shape) for n, t in
             host.state_dict().items()}  # fmt: skip
    model = Model(names | others)
    model.detector = nn.Module()
    model.detector.host = host
    return model


@pytest.fixture(scope='module')
def files() -> dict:
    """Make each file once."""
    return {}


def get(files: dict, config: str) -> dict:
    if config not in files:
        files[config] = zoo_file(config)
    return files[config]


def test_the_hosts_are_those_of_the_zoo():
    """All that decides what weights mean is MMDetection's."""
    told = ('num_queries', 'num_feature_levels', 'with_box_refine',
            'as_two_stage', 'encoder', 'decoder', 'positional_encoding', 'dn_cfg',
            'dense_topk_ratio', 'dqs_cfg', 'train_cfg', 'test_cfg')  # fmt: skip
    defaults = dict(num_feature_levels=4)
    for name in ('dino', 'swin', 'ddq'):
        theirs = Config.fromfile(ZOO / f'{HOSTS[name][0]}.py').model
        ours = host_config(name)
        # DINO with the positions of the zoo's files.
        assert ours.type in (theirs.type, f'Zoo{theirs.type}')
        for key in told:
            assert ours.get(key) == theirs.get(key, defaults.get(key)), (name, key)
        assert {**theirs.bbox_head, 'num_classes': 1} == ours.bbox_head
        assert theirs.neck == ours.neck
        own = dict(zero_init_residual=False, with_cp=False, convert_weights=True)
        init = dict(init_cfg=theirs.backbone.init_cfg)
        assert {**theirs.backbone, **own, **init} == {**ours.backbone, **own, **init}
    theirs = Config.fromfile(ZOO / f'{HOSTS["sparse"][0]}.py').model
    del theirs['data_preprocessor'], theirs.backbone['init_cfg']
    for head in theirs.roi_head.bbox_head:
        head.num_classes = 1
    assert host_config('sparse') == theirs


@pytest.mark.parametrize('name', HOSTS)
def test_every_tensor_of_a_zoo_file_gets_its_place(name: str, files: dict):
    theirs, _, num_heads = HOSTS[name]
    content = get(files, theirs)
    source = content['state_dict']
    host = build(host_config(name))
    model = tracker(host, **{'id_decoder.norm.weight': torch.empty(2)})
    adapted, remark = adapt_weights(content, model, ('dancer',), complete=False)
    found = adapted['state_dict']
    assert found.keys() == {f'detector.host.{name}' for name in source}
    cut = []
    for name, tensor in source.items():
        kept = found[f'detector.host.{name}']
        if kept.shape == tensor.shape:
            assert torch.equal(kept, tensor)
        else:
            cut.append(name)
            assert torch.equal(kept, tensor[PERSON : PERSON + 1])
    assert len(cut) == num_heads
    denoising = 'dn_query_generator.label_embedding.weight'
    assert (denoising in cut) == (denoising in source)
    title = type(host).__name__.removeprefix('Zoo')
    assert f'{title} of MMDetection' in remark
    assert (
        '0 person of 80' in remark
        and 'association keep their initial weights' in remark
    )
    assert adapted['meta']['dataset_meta'] == dict(classes=('dancer',))
    report = convert_for_host(source, model).report
    assert report.counts == dict(used=len(source), generated=0, dropped=0)
    with pytest.raises(CheckpointMismatchError, match='which has no association: 1 of'):
        adapt_weights(content, model, ('person',))


@pytest.mark.parametrize('name', OTHERS)
def test_other_hosts_take_theirs(name: str, files: dict):
    config = Config.fromfile(ZOO / f'{OTHERS[name]}.py').model
    content = get(files, OTHERS[name])
    source = content['state_dict']
    config.bbox_head.num_classes = 2
    model = tracker(build(config))
    adapted, remark = adapt_weights(content, model, ('dog', 'person'))
    found = matching_weights(model, adapted)
    background = [80] if name == 'DETR' else []
    cut = 0
    for key, tensor in source.items():
        kept = found[f'detector.host.{key}']
        if kept.shape != tensor.shape:
            cut += 1
            tensor = tensor[[DOG, PERSON, *background]]
        assert torch.equal(kept, tensor)
    assert cut == {'two stages': 14, 'one stage': 12}.get(name, 2)
    assert f'{DOG} dog, 0 person of 80' in remark


def test_fewer_queries_are_the_first_ones(files: dict):
    """DINO gives its learnt contents to proposals in the order of their scores."""
    content = get(files, HOSTS['dino'][0])
    config = host_config('dino')
    model = tracker(build(dict(config, num_queries=300)))
    adapted, _ = adapt_weights(content, model, ('person',))
    name = 'query_embedding.weight'
    kept = adapted['state_dict'][f'detector.host.{name}']
    assert torch.equal(kept, content['state_dict'][name][:300])
    records = convert_for_host(content['state_dict'], model).report.records
    assert 'the first 300 of 900 queries' in {record.reason for record in records}
    model = tracker(build(dict(config, num_queries=1000)))
    with pytest.raises(CheckpointError, match='of another size: query_embedding'):
        adapt_weights(content, model, ('person',))


def test_another_detector_is_refused(files: dict):
    host = build(
        Config.fromfile(CONFIGS / f'{HOSTS["dino"][1]}.py').model.detector.host
    )
    model = tracker(host)
    for theirs in (HOSTS['ddq'][0], OTHERS['two stages'], OTHERS['one stage']):
        with pytest.raises(CheckpointError) as error:
            adapt_weights(get(files, theirs), model, ('person',), complete=False)
        assert 'DINO of the config' in str(error.value)
        assert '\n' not in str(error.value)
    content = get(files, HOSTS['dino'][0])
    more = content['state_dict'] | {'encoder.layers.6.norms.0.weight': torch.ones(256)}
    with pytest.raises(CheckpointError, match=r'layers.6.norms.0.weight has no place'):
        adapt_weights(dict(state_dict=more), model, ('person',))


def test_what_training_adds_to_ddq_is_one_tensor_by_two_names(files: dict):
    source = get(files, HOSTS['ddq'][0])['state_dict']
    host = build(host_config('ddq'))
    named, alias = 'bbox_head.aux_reg_branches', 'decoder.aux_reg_branches'
    twice = {n.replace(named, alias): t for n, t in source.items() if named in n}
    assert len(twice) == 36
    fresh = tracker(host)
    found = convert_for_host(source | twice, fresh)
    assert found.report.counts == dict(used=len(source), generated=0, dropped=36)
    assert equal(found.state_dict, convert_for_host(source, fresh).state_dict)
    # Its own file, after a training and before one.
    host.decoder.aux_reg_branches = host.bbox_head.aux_reg_branches
    trained = tracker(host)
    own = {f'detector.host.{n}': t for n, t in fill(host.state_dict()).items()}
    for name in [n for n in own if alias in n]:
        own[name] = own[name.replace(alias, named)]
    adapted, _ = adapt_weights(dict(state_dict=own), fresh)
    assert equal(matching_weights(fresh, adapted), {n: own[n] for n in fresh.own})
    adapted, _ = adapt_weights(dict(state_dict=found.state_dict), trained)
    assert matching_weights(trained, adapted).keys() == trained.own.keys()
    name = next(iter(twice))
    with pytest.raises(CheckpointError, match='two names of one parameter'):
        convert_for_host(source | {name: twice[name] + 1}, fresh)


def test_a_host_goes_from_tracker_to_tracker():
    """A plain detector, one in a tracker on boxes, and FDTA with the same host."""
    host = build(host_config('dino'))
    inner = fill(host.state_dict())
    whole = {f'detector.host.{n}': t for n, t in inner.items()}
    parts = {'temporal_adapter.norm.weight': torch.rand(3),
             'detector.spatial_adapter.bin_values': torch.rand(4)}  # fmt: skip
    boxes = {f'detector.{n}': t for n, t in inner.items()}
    plain = Model(inner)
    adapted, remark = adapt_weights(dict(state_dict=whole | parts), plain)
    assert equal(matching_weights(plain, adapted), inner)
    assert '2 weights dropped: the model has no such part' in remark
    for source in (inner, boxes):
        adapted, _ = adapt_weights(dict(state_dict=source), tracker(host))
        assert equal(adapted['state_dict'], whole)
    adapted, _ = adapt_weights(dict(state_dict=inner), Model(boxes))
    assert equal(adapted['state_dict'], boxes)
    # In its own names nothing is done.
    content = dict(state_dict=whole | parts)
    assert adapt_weights(content, tracker(host, **parts)) == (content, '')


def test_fdta_on_deformable_detr_goes_into_a_host():
    """As released and in this project's names, depth attention included."""
    released = samples.fdta()
    own = convert_state_dict(released).state_dict
    expected = {}
    for name, tensor in own.items():
        inner = name.removeprefix('detector.')
        if '.depth_attn.' in name or '.depth_norm.' in name:
            inner = inner.replace('decoder.layers.', 'depth_layers.')
        elif name.startswith('detector.') and 'spatial_adapter' not in name:
            inner = f'host.{inner}'
        expected[f'detector.{inner}' if name != inner else name] = tensor
    model = Model(expected)
    for content in (dict(state_dict=own), dict(model=released)):
        adapted, remark = adapt_weights(content, model)
        assert equal(matching_weights(model, adapted), expected)
        assert remark


def test_files_of_deformable_detr_go_where_they_went(files: dict):
    """Zoo files still start `FDTADetector`, which drops the stage of proposals."""
    source = get(files, OTHERS['one stage'])['state_dict']
    expected = convert_state_dict(source).state_dict
    fdta = Model(convert_state_dict(source).state_dict)
    adapted, remark = adapt_weights(dict(state_dict=source), fdta, ('person',))
    assert equal(adapted['state_dict'], expected)
    assert "Deformable DETR with MMDetection's names" in remark


def test_pixels_are_those_of_the_zoo():
    """MMDetection reads blue first and normalises; clips come as RGB."""
    clips = [
        torch.randint(0, 256, (1, 3, *size), dtype=torch.uint8)
        for size in ((20, 30), (24, 26))
    ]
    tracks = [TrackDataSample() for _ in clips]
    for track in tracks:
        track.video_data_samples = [DetDataSample()]
    batch = dict(inputs=dict(img=clips), data_samples=tracks)
    for theirs, name, _ in HOSTS.values():
        ours = Config.fromfile(CONFIGS / f'{name}.py').model.data_preprocessor
        found = MODELS.build(ours)(batch)['inputs']['img'][:, 0]
        settings = Config.fromfile(ZOO / f'{theirs}.py').model.data_preprocessor
        frames = [
            DetDataSample(metainfo=dict(img_shape=clip.shape[-2:])) for clip in clips
        ]
        bgr = dict(inputs=[clip[0].flip(0) for clip in clips], data_samples=frames)
        expected = MODELS.build(settings)(bgr)['inputs']
        torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(('width', 'other'), [(256, 'ZooDINO'), (1024, 'DINO')])
def test_positions_of_the_other_dino_are_named(files: dict, width: int, other: str):
    """The two families encode DINO's positions as 512 and 1,024 channels."""
    file = get(files, HOSTS['dino'][0])
    name = 'decoder.ref_point_head.layers.0.weight'
    content = dict(
        file, state_dict={**file['state_dict'], name: torch.ones(256, width)}
    )
    with pytest.raises(CheckpointError, match=f"host.type='{other}'"):
        adapt_weights(content, tracker(build(host_config('dino'))), complete=False)


def test_only_heads_have_rows_for_the_background():
    """A head with a softmax ends with the background, denoising has objects alone."""
    head, labels = 'bbox_head.cls_branches.0.weight', 'label_embedding.weight'
    labels = f'dn_query_generator.{labels}'
    weights = {head: torch.arange(6.0)[:, None], labels: torch.arange(5.0)[:, None]}
    fitted = fit_host(
        weights,
        {head: (3, 1), labels: (2, 1)},
        'DINO',
        lambda found, wanted: ClassChoice(indices=(found - 1, wanted - 1)),
        background=1,
    )
    assert fitted.state_dict[head].flatten().tolist() == [4, 1, 5]
    assert fitted.state_dict[labels].flatten().tolist() == [4, 1]
