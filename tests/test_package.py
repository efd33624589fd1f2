# Copyright (c) mmfdta authors.
"""What a wheel and an editable install hold."""

import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from email.parser import Parser
from pathlib import Path

import pytest
import yaml

from mmfdta.utils.environment import find_environment
from mmfdta.version import __repository__, __version__

ROOT = Path(__file__).resolve().parents[1]
PARTS = (
    'mmfdta',
    'configs',
    'tools',
    'requirements',
    'setup.py',
    'pyproject.toml',
    'MANIFEST.in',
    'model-index.yml',
    'README.md',
    *('LICENSE', 'NOTICE', 'CITATION.cff', 'CHANGELOG.md', 'CONTRIBUTING.md'),
)


def test_docker_sees_what_a_build_needs_and_the_family_s_pytorch():
    lines = (ROOT / '.dockerignore').read_text().splitlines()
    assert {line[1:] for line in lines if line[0] == '!'} == set(PARTS)
    pinned = re.search(
        r'^torch==\S+', (ROOT / 'requirements/mminstall.txt').read_text(), re.MULTILINE
    )
    assert f' {pinned[0]} ' in (ROOT / 'docker/cpu.Dockerfile').read_text()


def tracked() -> set[str]:
    """The files of the checkout that git knows."""
    listed = subprocess.run(
        ['git', 'ls-files', '-z'], cwd=ROOT, capture_output=True, text=True, check=True
    )
    names = listed.stdout.split('\0')
    return {name for name in names if name and (ROOT / name).is_file()}


def copy_tracked(folder):
    for name in tracked():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, folder / name)
    return folder


@pytest.fixture(scope='module')
def project(tmp_path_factory):
    """A copy of the project, so that building leaves the checkout as it is."""
    return copy_tracked(tmp_path_factory.mktemp('project'))


def build(project, hook):
    """Call a hook of the build backend, as pip does, and return what it made."""
    command = f'from setuptools.build_meta import *; print({hook}("out"))'
    run = subprocess.run(
        [sys.executable, '-c', command],
        cwd=project,
        capture_output=True,
        text=True,
        check=True,
    )
    return project / 'out' / run.stdout.splitlines()[-1]


def build_wheel(project, folder):
    """Build a wheel and unpack it into a folder."""
    with zipfile.ZipFile(build(project, 'build_wheel')) as archive:
        archive.extractall(folder)
    return folder


@pytest.fixture(scope='module')
def wheel(project, tmp_path_factory):
    return build_wheel(project, tmp_path_factory.mktemp('wheel'))


def files(folder):
    return {
        path.relative_to(folder).as_posix()
        for path in folder.rglob('*')
        if path.is_file()
    }


def test_a_wheel_holds_the_package_and_what_mim_looks_for(project, wheel):
    shipped = wheel / 'mmfdta' / '.mim'
    for name in ('configs', 'tools'):
        assert files(shipped / name) == files(project / name)
    assert (shipped / 'model-index.yml').read_text() == (
        project / 'model-index.yml'
    ).read_text()
    packaged = {name for name in files(wheel / 'mmfdta') if not name.startswith('.mim')}
    assert packaged == files(project / 'mmfdta')


def test_a_wheel_asks_for_neither_family_on_its_own(wheel):
    (metadata,) = wheel.glob('*.dist-info/METADATA')
    required = Parser().parsestr(metadata.read_text()).get_all('Requires-Dist')
    family = re.compile(r'(onedl-|mmengine|mmcv|mmdet|torch)')
    assert not [r for r in required if 'extra ==' not in r and family.match(r)]
    for name, version in {
        'onedl-mmengine': '0.10.12',
        'onedl-mmcv': '2.3.6',
        'onedl-mmdetection': '3.5.1',
        'onedl-mim': '0.5.1',
    }.items():
        assert re.search(rf'{name}==\S*{version}\S*; extra == .onedl.', str(required))
    assert re.search(r'mmdet==3.3.0; extra == .openmmlab.', str(required))


def test_a_config_of_a_wheel_is_found_by_name(wheel):
    code = (
        'import mmfdta.apis.config as c; from mmengine.config import Config;'
        'print(c.__file__); print(c.find_config("configs/fdta_dancetrack.py"))'
    )
    run = subprocess.run(
        [sys.executable, '-c', code],
        cwd=wheel,
        capture_output=True,
        text=True,
        check=True,
    )
    module, found = run.stdout.splitlines()[-2:]
    assert Path(module).is_relative_to(wheel)
    assert Path(found) == wheel / 'mmfdta/.mim/configs/fdta_dancetrack.py'


def test_an_editable_install_links_tools_but_no_second_copy_of_configs(project):
    build(project, 'build_editable')
    links = project / 'mmfdta' / '.mim'
    assert {path.name for path in links.iterdir()} == {'tools', 'model-index.yml'}
    assert (links / 'tools').resolve() == project / 'tools'
    shutil.rmtree(links)


def test_every_config_has_a_name_of_its_own():
    """mim finds a config by its name in the whole project, and refuses two."""
    names = [path.name for path in (ROOT / 'configs').glob('*.py')]
    for name in names:
        assert len(list((ROOT / 'configs').rglob(name))) == 1, name


@pytest.mark.skipif(
    'OneDL' not in find_environment().families, reason='only this family brings mim'
)
@pytest.mark.parametrize('verb', ['train', 'test'])
def test_mim_starts_a_verb_from_another_folder(project, tmp_path, verb):
    """In an editable install, of which mim reads the metadata."""
    info = tmp_path / 'site' / 'mmfdta-0.dist-info'
    info.mkdir(parents=True)
    (info / 'METADATA').write_text('Metadata-Version: 2.1\nName: mmfdta\nVersion: 0\n')
    editable = dict(url=project.as_uri(), dir_info=dict(editable=True))
    (info / 'direct_url.json').write_text(json.dumps(editable))
    (tmp_path / 'elsewhere').mkdir()
    option = ['--cfg-options', 'model.type=Nothing']
    if verb == 'test':
        option = ['--checkpoint', 'there/is/none.pth', *option]
    code = 'from mim.cli import cli; cli()'
    config = 'configs/fdta_dancetrack.py'
    found = subprocess.run(
        [sys.executable, '-c', code, verb, 'mmfdta', config, '--gpus', '0', *option],
        cwd=tmp_path / 'elsewhere',
        env={**os.environ, 'PYTHONPATH': f'{info.parent}{os.pathsep}{project}'},
        capture_output=True,
        text=True,
    )
    said = {'train': "there is no 'Nothing'", 'test': 'there is no checkpoint'}
    assert f'mmfdta {verb}: ' in found.stderr, found.stderr
    assert said[verb] in found.stderr
    assert f'will use {project / config} instead' in found.stdout


def test_a_build_leaves_no_second_copy_of_the_configs(project, wheel):
    assert not (project / 'build').exists()


def test_the_command_is_installed(wheel):
    (entries,) = wheel.glob('*.dist-info/entry_points.txt')
    assert 'mmfdta = mmfdta.cli.main:main' in entries.read_text()


def test_the_page_on_pypi_has_no_relative_link(wheel):
    (metadata,) = wheel.glob('*.dist-info/METADATA')
    found = Parser().parsestr(metadata.read_text(encoding='utf-8'))
    branch = 'main' if '.dev' in __version__ else f'v{__version__}'
    page = found.get_payload()
    readme = (ROOT / 'README.md').read_text(encoding='utf-8')
    targets = re.findall(r'\]\(([^)\s]+)\)', page)
    assert len(targets) == len(re.findall(r'\]\(([^)\s]+)\)', readme))
    assert all(target.startswith(('https://', '#')) for target in targets)
    for kind in ('blob', 'raw'):
        base = f'{__repository__}/{kind}/{branch}/'
        named = [t.removeprefix(base) for t in targets if t.startswith(base)]
        assert named
        for name in named:
            assert (ROOT / name.partition('#')[0]).exists(), name
    fences = re.compile(r'^```.*?^```', re.MULTILINE | re.DOTALL)
    assert fences.findall(page) == fences.findall(readme)
    urls = dict(line.split(', ', 1) for line in found.get_all('Project-URL'))
    assert {'Source', 'Documentation', 'Changelog', 'Issues'} <= set(urls)
    assert urls['Source'] == __repository__
    assert 'Typing :: Typed' in found.get_all('Classifier')


HTML = """
<a href="docs/video.md"><img alt="a > b" src='docs/a.png' width="9"/></a>
<picture><source media="(x)" srcset="docs/a.webp 1x, https://b.c/d.webp 2x"></picture>
<a href="#limits">in the page</a> `<img src="docs/a.png">` <img
src="https://b.c/d.png">

```html
<a href="docs/video.md">code</a>
```
"""


def test_html_links_of_the_page_on_pypi_are_absolute(project, tmp_path):
    """The page is made by setup.py, here of a README with HTML."""
    names = ('setup.py', 'pyproject.toml', 'LICENSE', 'NOTICE', 'mmfdta/version.py')
    for path in (*(project / 'requirements').iterdir(), *map(project.joinpath, names)):
        copy = tmp_path / path.relative_to(project)
        copy.parent.mkdir(exist_ok=True)
        shutil.copy2(path, copy)
    (tmp_path / 'README.md').write_text(HTML, encoding='utf-8')
    (tmp_path / 'out').mkdir()
    metadata = build(tmp_path, 'prepare_metadata_for_build_wheel') / 'METADATA'
    page = Parser().parsestr(metadata.read_text(encoding='utf-8')).get_payload()
    branch = 'main' if '.dev' in __version__ else f'v{__version__}'
    raw, blob = (f'{__repository__}/{kind}/{branch}/docs' for kind in ('raw', 'blob'))
    changes = (
        ('<a href="docs/video.md"><img', f'<a href="{blob}/video.md"><img'),
        ("src='docs/a.png' width", f"src='{raw}/a.png' width"),
        ('docs/a.webp 1x', f'{raw}/a.webp 1x'),
    )
    expected = HTML
    for before, after in changes:
        assert expected.count(before) == 1
        expected = expected.replace(before, after)
    assert page.strip() == expected.strip()


def test_a_wheel_carries_license_and_notice(project, wheel):
    (info,) = wheel.glob('*.dist-info')
    metadata = Parser().parsestr((info / 'METADATA').read_text(encoding='utf-8'))
    assert metadata['License-Expression'] == 'Apache-2.0'
    assert metadata.get_all('License-File') == ['LICENSE', 'NOTICE']
    for name in ('LICENSE', 'NOTICE'):
        (shipped,) = info.rglob(name)
        assert shipped.read_bytes() == (ROOT / name).read_bytes()


# For work on mmfdta, for which one takes a checkout.
NOT_IN_SOURCE_ARCHIVE = (
    *('.ci/', '.github/', 'benchmarks/', 'docker/', 'docs/', 'tests/'),
    *('.dockerignore', '.gitignore', '.proselintrc.json', 'Makefile'),
    *('CODE_OF_CONDUCT.md', 'SECURITY.md'),
)
# What work in a checkout leaves: caches, results of the notebook, an older build.
STRAYS = (
    *('data/own/gt.txt', 'work_dirs/run/config.py', 'dist/old.py', 'notes.txt'),
    *('examples/work_dirs/tutorial/config.py', 'examples/data/minidance.json'),
    'examples/.ipynb_checkpoints/mmfdta_tutorial-checkpoint.ipynb',
    *('configs/__pycache__/fdta_mini.cpython-311.pyc', 'mmfdta/.mim/tools/train.py'),
    *('tests/test_mine.py', 'mmfdta/minidance/weights/mine.npz', '.venv/lib/site.py'),
)


@pytest.fixture(scope='module')
def source_archive(tmp_path_factory):
    """The source archive of a checkout in which somebody works, unpacked."""
    checkout = copy_tracked(tmp_path_factory.mktemp('checkout'))
    for name in STRAYS:
        (checkout / name).parent.mkdir(parents=True, exist_ok=True)
        (checkout / name).touch()
    folder = tmp_path_factory.mktemp('archive')
    with tarfile.open(build(checkout, 'build_sdist')) as archive:
        archive.extractall(folder, filter='data')
    (unpacked,) = folder.iterdir()
    return unpacked


def test_a_source_archive_holds_what_git_knows_but_for_the_listed(source_archive):
    made = {'PKG-INFO', 'setup.cfg'}
    found = {n for n in files(source_archive) if not n.startswith('mmfdta.egg-info/')}
    names = tracked()
    for part in NOT_IN_SOURCE_ARCHIVE:
        assert any(name.startswith(part) for name in names), f'{part}: there is none'
    wanted = {name for name in names if not name.startswith(NOT_IN_SOURCE_ARCHIVE)}
    assert found - made == wanted


def test_a_wheel_of_the_source_archive_is_that_of_the_checkout(
    source_archive, wheel, tmp_path
):
    again = build_wheel(source_archive, tmp_path)
    assert files(again) == files(wheel)
    for name in files(wheel):
        assert (again / name).read_bytes() == (wheel / name).read_bytes(), name


def test_the_citation_is_of_the_last_release():
    citation = yaml.safe_load((ROOT / 'CITATION.cff').read_text())
    assert citation['cff-version'] == '1.2.0'
    release = f'## [{citation["version"]}] - {citation["date-released"]}'
    assert citation['version'] == released_versions()[0]
    assert release in (ROOT / 'CHANGELOG.md').read_text().splitlines()
    assert citation['repository-code'] == __repository__
    for work in (citation, *citation['references']):
        # What version 1.2.0 of the format demands, here and of references.
        assert {'title', 'authors', 'type'} <= set(work)
        for author in work['authors']:
            assert 'name' in author or {'family-names', 'given-names'} == set(author)


def released_versions() -> list[str]:
    """The versions in the changelog, the last one first."""
    headings = re.findall(r'^## \[(.+?)\]', (ROOT / 'CHANGELOG.md').read_text(), re.M)
    assert headings[0] == 'Unreleased'
    return headings[1:]


def test_the_changelog_begins_with_this_version_or_what_follows_it():
    released = [tuple(map(int, name.split('.'))) for name in released_versions()]
    assert released == sorted(released, reverse=True)
    version, _, development = __version__.partition('.dev')
    if development:
        assert tuple(map(int, version.split('.'))) > released[0]
    else:
        assert version == released_versions()[0]
