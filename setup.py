# Copyright (c) mmfdta authors.
"""Build and install mmfdta.

A wheel carries `configs`, `tools` and `model-index.yml` in `mmfdta/.mim`, where
MMDetection's packages keep theirs. An editable install gets links to the last two
only: onedl-mim searches the whole project for a config by its name and gives up when
it meets one twice, and openmim needs `.mim/tools` to start a script.
"""

import atexit
import re
import shutil
import tempfile
from pathlib import Path

from setuptools import find_packages, setup
from setuptools.command.build_py import build_py

ROOT = Path(__file__).resolve().parent
WHEEL_EXTRAS = ('configs', 'tools', 'model-index.yml')
EDITABLE_EXTRAS = ('tools', 'model-index.yml')


def read_version_file(name: str) -> str:
    """Return the text that `mmfdta/version.py` assigns to `name`."""
    text = (ROOT / 'mmfdta' / 'version.py').read_text(encoding='utf-8')
    return re.search(rf"^{name} = '([^']+)'", text, re.MULTILINE).group(1)


def read_requirements(name: str) -> list[str]:
    """Return the requirement lines of `requirements/<name>.txt`."""
    lines = (ROOT / 'requirements' / f'{name}.txt').read_text().splitlines()
    return [line.strip() for line in lines if line.strip() and line[0] != '#']


def absolute_links(text: str, repository: str, tag: str) -> str:
    """Return Markdown whose relative links lead to the files of `tag`.

    PyPI shows the README without the files around it. Links get the repository's page
    of the file, images its bytes; links of HTML tags (`href`, `src`, `srcset`) too.
    Anchors within the page and code stay as they are.
    """

    def address(target: str, kind: str) -> str:
        if re.match(r'[a-z]+:|#|//', target):
            return target
        return f'{repository}/{kind}/{tag}/{target}'

    def absolute_attribute(match: re.Match) -> str:
        space, name, quote, links = match.groups()
        kind = 'blob' if name == 'href' else 'raw'
        # A srcset has several links, each with a condition.
        parts = links.split(',') if name == 'srcset' else [links]
        joined = ', '.join(address(part.strip(), kind) for part in parts)
        return f'{space}{name}={quote}{joined}{quote}'

    def absolute(match: re.Match) -> str:
        if match['code']:
            return match['code']
        if match['tag']:
            return re.sub(attribute, absolute_attribute, match['tag'])
        kind = 'raw' if match['image'] else 'blob'
        return match['start'] + address(match['target'], kind)

    code = r'(?P<code>^```.*?^```|`[^`\n]+`)'
    tags = r"""(?P<tag><(?:a|img|source)\s(?:[^>"']|"[^"]*"|'[^']*')*>)"""
    attribute = r"""(\s)(href|src|srcset)=(["'])(.*?)\3"""
    link = r'(?P<start>(?P<image>!)\[[^][]*\]\(|\]\()(?P<target>[^)]+)'
    return re.sub(
        f'{code}|{tags}|{link}', absolute, text, flags=re.MULTILINE | re.DOTALL
    )


class BuildWithMim(build_py):
    """Add the `.mim` folder to what is built, or link it for an editable install."""

    def run(self) -> None:
        """Build as setuptools does, then fill `.mim`."""
        super().run()
        if getattr(self, 'editable_mode', False):
            self.fill(ROOT / 'mmfdta' / '.mim', EDITABLE_EXTRAS, link=True)
        else:
            self.fill(Path(self.build_lib, 'mmfdta', '.mim'), WHEEL_EXTRAS, link=False)

    @staticmethod
    def fill(folder: Path, names: tuple[str, ...], link: bool) -> None:
        """Make `folder` anew and put the named files and folders of the project in."""
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        no_caches = shutil.ignore_patterns('__pycache__')
        for name in names:
            source = ROOT / name
            if link:
                (folder / name).symlink_to(source)
            elif source.is_dir():
                shutil.copytree(source, folder / name, ignore=no_caches)
            else:
                shutil.copy2(source, folder / name)


# Not in the checkout: mim finds a config by its name and refuses two of one name.
BUILD = tempfile.mkdtemp(prefix='mmfdta-build-')
atexit.register(shutil.rmtree, BUILD, ignore_errors=True)

EXTRAS = {
    'onedl': read_requirements('mminstall'),
    'openmmlab': read_requirements('mminstall-openmmlab'),
    'runtime': read_requirements('runtime'),
    'export': read_requirements('export'),
    'trackers': read_requirements('trackers'),
    'cluster': read_requirements('cluster'),
    'depth': read_requirements('depth'),
    'tests': read_requirements('tests'),
    'triton': read_requirements('triton'),
    'docs': read_requirements('docs'),
}

VERSION = read_version_file('__version__')
REPOSITORY = read_version_file('__repository__')
# A version in development has no tag.
TAG = 'main' if '.dev' in VERSION else f'v{VERSION}'

setup(
    name='mmfdta',
    version=VERSION,
    description=(
        'Multi-object tracking on MMDetection: FDTA, MOTIP, MOTR and baselines, '
        'to train, compare and run on video'
    ),
    long_description=absolute_links(
        (ROOT / 'README.md').read_text(encoding='utf-8'), REPOSITORY, TAG
    ),
    long_description_content_type='text/markdown',
    author='mmfdta authors',
    url=REPOSITORY,
    project_urls={
        'Source': REPOSITORY,
        'Documentation': f'{REPOSITORY}/blob/{TAG}/docs/index.md',
        'Changelog': f'{REPOSITORY}/blob/{TAG}/CHANGELOG.md',
        'Issues': f'{REPOSITORY}/issues',
    },
    license_expression='Apache-2.0',
    license_files=['LICENSE', 'NOTICE'],
    keywords=(
        'multi-object tracking, MOT, video, computer vision, MMDetection, '
        'FDTA, MOTIP, MOTR, ByteTrack'
    ),
    classifiers=[
        'Development Status :: 4 - Beta',
        'Intended Audience :: Developers',
        'Intended Audience :: Science/Research',
        'Operating System :: OS Independent',
        'Programming Language :: Python :: 3',
        'Programming Language :: Python :: 3.10',
        'Programming Language :: Python :: 3.11',
        'Programming Language :: Python :: 3.12',
        'Topic :: Multimedia :: Video',
        'Topic :: Scientific/Engineering :: Artificial Intelligence',
        'Topic :: Scientific/Engineering :: Image Recognition',
        'Typing :: Typed',
    ],
    python_requires='>=3.10,<3.13',
    packages=find_packages(include=['mmfdta', 'mmfdta.*']),
    package_data={
        'mmfdta': ['py.typed'],
        'mmfdta.minidance': ['weights/*.pth', 'weights/*.json'],
    },
    install_requires=read_requirements('core'),
    extras_require=EXTRAS,
    cmdclass={'build_py': BuildWithMim},
    entry_points={'console_scripts': ['mmfdta=mmfdta.cli.main:main']},
    options={'build': {'build_base': BUILD}},
    zip_safe=False,
)
