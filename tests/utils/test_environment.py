# Copyright (c) mmfdta authors.
"""Finding and judging what is installed, on folders of made-up metadata."""

import importlib
import sys
import warnings

import mmcv
import pytest

from mmfdta.cli import main as command_line
from mmfdta.cli.errors import report_errors
from mmfdta.utils.environment import (
    check_environment,
    describe_environment,
    find_environment,
    import_mmdet,
    untested_versions,
)

ONEDL = {
    'onedl_mmengine': '0.10.12',
    'onedl_mmcv': '2.3.6',
    'onedl_mmdetection': '3.5.1',
    'torch': '2.13.0+cpu',
}
OPENMMLAB = {
    'mmengine': '0.10.7',
    'mmcv_lite': '2.1.0',
    'mmdet': '3.3.0',
    'torch': '2.13.0',
}


@pytest.fixture
def install(tmp_path):
    def write(versions):
        for name, version in versions.items():
            folder = tmp_path / f'{name}-{version}.dist-info'
            folder.mkdir()
            (folder / 'METADATA').write_text(
                f'Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n'
            )
        return find_environment([str(tmp_path)])

    return write


@pytest.mark.parametrize(
    'versions, family', [(ONEDL, 'OneDL'), (OPENMMLAB, 'OpenMMLab')]
)
def test_one_complete_family_passes_in_silence(install, versions, family):
    environment = install(versions)
    assert environment.families == [family]
    assert environment.missing == []
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        check_environment(environment)


def test_no_family_is_an_error_that_names_both_remedies(install):
    with pytest.raises(ImportError) as caught:
        check_environment(install({'torch': '2.13.0', 'numpy': '2.4.6'}))
    message = str(caught.value)
    assert 'mmengine, mmcv, mmdet' in message
    assert 'mmfdta[onedl]' in message and 'mmfdta[openmmlab]' in message


def test_a_missing_member_is_named(install):
    incomplete = {k: v for k, v in ONEDL.items() if k != 'onedl_mmcv'}
    with pytest.raises(ImportError, match='needs mmcv, which is not installed'):
        check_environment(install(incomplete))


def test_both_families_are_a_warning_that_names_all_of_them(install):
    environment = install({**ONEDL, **OPENMMLAB, 'torch': '2.13.0'})
    with pytest.warns(UserWarning, match='both') as caught:
        check_environment(environment)
    text = str(caught[0].message)
    for name in ('onedl-mmengine', 'onedl-mmcv', 'onedl-mmdetection', *OPENMMLAB):
        assert name.replace('_', '-') in text or name == 'torch'


def test_untested_versions_warn_and_name_the_tested_ones(install):
    environment = install({**OPENMMLAB, 'mmcv_lite': '2.2.0', 'torch': '2.1.2'})
    messages = untested_versions(environment)
    assert len(messages) == 2
    assert 'mmcv-lite 2.2.0' in messages[0] and '2.1 ' in messages[0]
    assert 'torch 2.1.2' in messages[1] and '2.13 ' in messages[1]
    with pytest.warns(UserWarning, match=r'mmcv-lite 2\.2\.0'):
        check_environment(environment)


def test_this_environment_is_sound():
    environment = find_environment()
    assert len(environment.families) == 1
    assert environment.missing == []
    report = describe_environment(environment)
    for name, version in environment.versions.items():
        assert any(line.split() == [name, version] for line in report.splitlines())
    assert 'compiled MMCV operators' in report


def test_the_report_without_a_family_says_what_to_install(install):
    report = describe_environment(install({'numpy': '2.4.6'}))
    assert 'mmengine, mmcv, mmdet, torch not found' in report
    assert "pip install 'mmfdta[onedl]'" in report


@pytest.mark.parametrize('name', ['torch', 'mmengine.config', 'mmcv', 'mmdet'])
def test_a_command_says_what_to_install(capsys, name):
    with report_errors('train') as ending:
        raise ModuleNotFoundError(f'No module named {name!r}', name=name)
    assert ending.code == 1
    said = capsys.readouterr().err
    assert said.startswith(f'mmfdta train: this needs {name.split(".")[0]}, which')
    assert said.count('\n') == 1


def test_track_without_a_model_names_a_family_not_the_runtime(
    monkeypatch, capsys, install
):
    # The small install has no PyAV either, which is asked for later.
    nothing = install({'numpy': '2.4.6'})
    monkeypatch.setattr(
        'mmfdta.utils.environment.find_environment', lambda path=None: nothing
    )
    assert command_line.main(['track', 'people.mp4']) == 1
    said = capsys.readouterr().err
    assert said.startswith('mmfdta track: this needs mmengine, mmcv, mmdet, torch, ')
    assert 'which are not installed' in said
    assert "pip install 'mmfdta[onedl]'" in said
    assert 'an exported model needs none of it: --model FOLDER' in said


def test_a_version_assertion_of_mmdet_becomes_a_warning(monkeypatch, tmp_path):
    (tmp_path / 'mmdet').mkdir()
    (tmp_path / 'mmdet' / '__init__.py').write_text(
        "import mmcv\nassert mmcv.__version__ == '2.1.0', 'MMCV is incompatible'\n"
    )
    loaded = [name for name in sys.modules if name.split('.')[0] == 'mmdet']
    for name in loaded:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(mmcv, '__version__', '2.2.0')
    monkeypatch.syspath_prepend(str(tmp_path))
    importlib.invalidate_caches()
    with pytest.warns(UserWarning, match='MMCV is incompatible'):
        import_mmdet()
    assert sys.modules.pop('mmdet').__file__.startswith(str(tmp_path))
    assert mmcv.__version__ == '2.2.0'
