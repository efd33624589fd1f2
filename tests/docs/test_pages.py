# Copyright (c) mmfdta authors.
"""Commands, links and code on the pages: what they name has to exist.

Commands are parsed by the very parsers that would run them. What a page does on
MiniDance is run by test_getting_started.py and test_add_a_tracker.py.
"""

import ast
import functools
import importlib
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from mmengine.config import Config
from pages import (
    PAGES,
    ROOT,
    Command,
    all_commands,
    code_blocks,
    page_name,
    parser_of_script,
    parser_of_verb,
)

from mmfdta.apis.config import find_config
from mmfdta.cli.arguments import CfgOptions
from mmfdta.cli.main import VERBS

COMMANDS = all_commands()
TARGETS = set(re.findall(r'^([\w-]+):', (ROOT / 'Makefile').read_text(), re.M))
# Of the shell and of other projects; what they get is not ours to check.
FOREIGN = {
    'source',
    'git',
    'cd',
    'cp',
    'curl',
    'docker',
    'export',
    'ray',
    'tensorboard',
}


@functools.cache
def parser_of(command: str):
    if command in VERBS:
        return parser_of_verb(command)
    return parser_of_script(ROOT / command)


@pytest.fixture(scope='session')
def own_configs(tmp_path_factory):
    """The configs, with those that pages write beside them."""
    root = tmp_path_factory.mktemp('pages')
    shutil.copytree(ROOT / 'configs', root / 'configs')
    for page in PAGES:
        for block in code_blocks(page, 'python'):
            name = re.match(r'# (?:configs/)?(\w+\.py)', block)
            if name:
                (root / 'configs' / name[1]).write_text(block)
    return root / 'configs'


def check_config_name(name: str, own: Path) -> Config:
    path = own / Path(name).name
    if not path.suffix:
        path = path.with_suffix('.py')
    if path.is_file():
        return Config.fromfile(path)
    return Config.fromfile(find_config(name))


def check_options(config: Config, options: dict, what: str) -> None:
    """Every key leads through what the config has, up to its last part."""
    for key in options:
        place = config.to_dict()
        *path, last = key.split('.')
        for part in path:
            inside = int(part) if isinstance(place, (list, tuple)) else part
            assert isinstance(inside, int) or inside in place, f'{what}: {key}'
            place = place[inside]
        if isinstance(place, (list, tuple)):
            assert int(last) < len(place), f'{what}: {key}'


def check_own(name: str, arguments: list[str], own: Path, what: str) -> None:
    """A command or script of this project, with its arguments."""
    if arguments in (['...'], ['--help']) or '--help' in arguments:
        parser_of(name)
        return
    parser = parser_of(name)
    try:
        options = parser.parse_args(arguments)
    except SystemExit:
        pytest.fail(f'{what}: {parser.format_usage()}')
    configs = [
        getattr(options, key)
        for key in ('config',)
        if isinstance(getattr(options, key, None), str)
    ]
    entries = getattr(options, 'entries', [])
    configs += [text.partition('=')[0].rpartition(':')[2] for text in entries]
    for text in configs:
        if '/' in text and not text.startswith(('configs/', 'benchmarks/')):
            continue  # made by the commands before it, which another test runs
        if text in ('theirs', 'CONFIG', 'ours'):
            continue
        config = check_config_name(text, own)
        if getattr(options, 'cfg_options', None) and 'entries' not in config:
            check_options(config, options.cfg_options, what)


def check_mim(arguments: list[str], own: Path, what: str) -> None:
    command, package, *rest = arguments
    assert package == 'mmfdta'
    module = importlib.import_module(f'mim.commands.{command}')
    known = {flag for option in module.cli.params for flag in option.opts}
    if command in ('train', 'test'):
        config = check_config_name(rest[0], own)
        assert config
        own_parser = parser_of(command)
        known |= set(own_parser._option_string_actions)
    assert {word for word in rest if word.startswith('--')} <= known, what


def check_python(arguments: list[str], own: Path, what: str) -> None:
    if arguments[:2] == ['-m', 'mmfdta']:
        if len(arguments) > 2 and arguments[2] not in ('VERB', 'COMMAND', '--help'):
            assert arguments[2] in VERBS, what
            check_own(arguments[2], arguments[3:], own, what)
    elif arguments[:2] == ['-m', 'pytest']:
        markers = (ROOT / 'pyproject.toml').read_text()
        for word in arguments[2:]:
            if word.startswith('tests'):
                assert (ROOT / word.partition('::')[0]).exists(), what
        if '-m' in arguments[2:]:
            expression = arguments[arguments.index('-m', 2) + 1]
            for name in set(re.findall(r'\w+', expression)) - {'not', 'or', 'and'}:
                assert f'"{name}:' in markers, what
    elif arguments[0] == '-m':
        assert arguments[1] in ('pip', 'venv', 'build', 'ruff', 'sphinx'), what
    else:
        script = ROOT / arguments[0]
        assert script.is_file(), what
        if (
            script.parent != ROOT / 'docs'
            and 'argparse' in script.read_text()
            or script.is_relative_to(ROOT / 'tools')
        ):
            check_own(arguments[0], arguments[1:], own, what)


def check_pip(arguments: list[str], what: str) -> None:
    extras = {path.stem for path in (ROOT / 'requirements').glob('*.txt')}
    extras |= {'onedl', 'openmmlab', 'depth'}
    for word in arguments:
        for found in re.findall(r'(?:^\.|^mmfdta)\[([\w,]+)\]', word):
            assert set(found.split(',')) <= extras, what


def run_checks(command: Command, own: Path) -> None:
    words, what = list(command.words), str(command)
    while words and re.match(r'^[A-Z_]+=', words[0]):
        words.pop(0)  # variables of the environment
    program, arguments = words[0], words[1:]
    if program in ('python', 'python3'):
        check_python(arguments, own, what)
    elif program == 'mim':
        check_mim(arguments, own, what)
    elif program == 'mmfdta':
        if arguments[0] not in ('VERB', '--help'):
            assert arguments[0] in VERBS, what
            check_own(arguments[0], arguments[1:], own, what)
    elif program == 'pip':
        check_pip(arguments, what)
    elif program == 'make':
        assert {w for w in arguments if '=' not in w and w[0] != '-'} <= TARGETS, what
    elif program.startswith(('tools/', '.ci/')):
        assert os.access(ROOT / program, os.X_OK), what
        if program in ('tools/dist_run.sh', 'tools/slurm_run.sh'):
            place = 1 if 'dist' in program else 2
            check_own(arguments[place], arguments[place + 1 :], own, what)
        elif 'dist' in program:
            tool = 'train' if 'train' in program else 'test'
            numbers = [i for i, word in enumerate(arguments) if word.isdecimal()]
            arguments.pop(numbers[0])
            check_own(tool, arguments, own, what)
    else:
        assert program in FOREIGN, f'{what}: what is {program}?'


@pytest.mark.parametrize('command', COMMANDS, ids=str)
def test_a_command_names_what_there_is(command, own_configs):
    run_checks(command, own_configs)


def test_the_pages_have_commands():
    """A change of the fences must not hide them all."""
    pages = {command.page for command in COMMANDS}
    assert {'README.md', 'docs/getting_started.md', 'docs/recipes.md'} <= pages
    assert len(COMMANDS) > 60


def headings(page: Path) -> set[str]:
    text = re.sub(
        r'^```.*?^```', '', page.read_text(encoding='utf-8'), flags=re.M | re.S
    )
    found = set()
    for title in re.findall(r'^#+ (.+)$', text, re.M):
        title = re.sub(r'\[([^]]*)\]\([^)]*\)', r'\1', title)
        found.add('-'.join(re.findall('[a-z0-9]+', title.lower())))  # Sphinx's
        slug = re.sub(r'[^\w\- ]', '', title.lower()).strip().replace(' ', '-')
        found.add(slug)  # GitHub's
    return found


@pytest.mark.parametrize('page', PAGES, ids=page_name)
def test_links_and_pictures_lead_somewhere(page):
    text = re.sub(
        r'^```.*?^```', '', page.read_text(encoding='utf-8'), flags=re.M | re.S
    )
    text = re.sub(r'`[^`\n]*`(?!\])', '', text)
    for target in re.findall(r'\]\(([^)\s]+)\)', text):
        if re.match(r'https?://|mailto:', target):
            continue
        path, _, anchor = target.partition('#')
        file = (page.parent / path).resolve() if path else page
        assert file.exists(), f'{page_name(page)}: {target}'
        assert file.is_relative_to(ROOT), f'{page_name(page)}: {target}'
        if anchor:
            assert anchor in headings(file), f'{page_name(page)}: {target}'


@pytest.mark.parametrize('page', PAGES, ids=page_name)
def test_python_on_a_page_is_whole_and_imports_what_there_is(page):
    for block in code_blocks(page, 'python'):
        for node in ast.walk(ast.parse(block)):
            if isinstance(node, ast.ImportFrom) and (node.module or '').startswith(
                'mmfdta'
            ):
                module = importlib.import_module(node.module)
                for alias in node.names:
                    assert hasattr(module, alias.name), (
                        f'{page_name(page)}: {alias.name}'
                    )


def test_the_code_that_builds_a_model_runs_on_its_own():
    """In a process of its own: here tests have set the scope of the registries."""
    blocks = code_blocks(ROOT / 'docs' / 'api.md', 'python')
    (code,) = [block for block in blocks if 'MODELS.build' in block]
    run = subprocess.run(
        [sys.executable, '-c', f'{code}\nprint(type(model).__name__)'],
        cwd=ROOT,
        env={**os.environ, 'PYTHONPATH': str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert run.stdout.split() == ['FDTA'], run.stderr


# First parts of paths in the repository; others are a user's own.
FOLDERS = '|'.join(
    re.escape(path.name)
    for path in ROOT.iterdir()
    if path.is_dir() and path.name not in ('data', 'work_dirs', '.git')
)
# Files of other projects, and what a command writes.
ELSEWHERE = {'configs/*/metafile.yml', 'configs/r50_motr_train*.sh', 'docs/_build'}


def named_paths(text: str) -> set[str]:
    """Paths of the repository in the running text, braces written out."""
    text = re.sub(r'^```.*?^```', '', text, flags=re.M | re.S)
    found = set()
    for code in re.findall(r'`([^`\n]+)`', text):
        for path in re.findall(rf'(?<![\w./-])(?:{FOLDERS})/[\w./{{}},*-]*\w', code):
            words = re.search(r'{([^{}]*)}', path)
            names = words[1].split(',') if words else ['']
            found |= {path.replace(words[0], n) if words else path for n in names}
    return found - ELSEWHERE


@pytest.mark.parametrize('page', PAGES, ids=page_name)
def test_paths_in_the_text_exist(page):
    if page.name == 'CHANGELOG.md':
        return  # has the names of earlier versions, too
    for path in named_paths(page.read_text(encoding='utf-8')):
        # A config's name may begin below `configs`.
        places = [*ROOT.glob(path), *(ROOT / 'configs').glob(f'{path}*')]
        assert places, f'{page_name(page)}: there is no {path}'


def test_named_paths_are_found():
    text = 'see `tests/golden/{a,b}.py`, `python tools/no.py x` and `data/mine/train`'
    assert named_paths(text) == {
        'tests/golden/a.py',
        'tests/golden/b.py',
        'tools/no.py',
    }
    assert named_paths((ROOT / 'CONTRIBUTING.md').read_text(encoding='utf-8'))


# Other names of a command than `mmfdta VERB`.
BANNED = re.compile(r'python -m mmfdta\b|tools/(analysis/)?\w+\.py', re.I)


@pytest.mark.parametrize('page', PAGES, ids=page_name)
def test_pages_spell_commands_the_same_way(page):
    if page.name == 'CHANGELOG.md':
        return  # has the names of earlier versions, too
    text = page.read_text(encoding='utf-8')
    assert not BANNED.findall(text), page_name(page)


def test_configs_of_the_pages_can_be_read(own_configs):
    own = {path.name for path in own_configs.glob('*.py')}
    own -= {path.name for path in (ROOT / 'configs').glob('*.py')}
    assert own
    for name in own:
        config = Config.fromfile(own_configs / name)
        assert config.model.type
        assert config.train_dataloader.dataset.type


def test_every_page_is_in_the_table_of_contents():
    blocks = code_blocks(ROOT / 'docs' / 'index.md', '{toctree}')
    listed = [
        line
        for block in blocks
        for line in block.splitlines()
        if line and not line.startswith(':')
    ]
    pages = {path.stem for path in (ROOT / 'docs').glob('*.md')} - {'index', '404'}
    assert pages <= set(listed)
    assert len(listed) == len(set(listed))


def test_the_pages_of_configs_and_registries_are_up_to_date():
    """They are made in a process of its own: tests register classes of theirs."""
    code = (
        'import json, make_configs as made\n'
        'print(json.dumps([made.build_page(), made.build_registries()]))'
    )
    run = subprocess.run(
        [sys.executable, '-c', code],
        cwd=ROOT / 'docs',
        env={**os.environ, 'PYTHONPATH': str(ROOT), 'PYTHONIOENCODING': 'utf-8'},
        capture_output=True,
        text=True,
        check=True,
    )
    for page, text in zip(
        ('configs.md', 'registries.md'), json.loads(run.stdout), strict=True
    ):
        kept = (ROOT / 'docs' / page).read_text(encoding='utf-8')
        assert kept == text, f'{page}: run python docs/make_configs.py'


@pytest.mark.parametrize('name', VERBS)
def test_commands_are_alike(name, capsys):
    parser = parser_of(name)
    assert parser.prog.endswith(f'mmfdta {name}')
    for action in parser._actions:
        assert action.help, f'{name}: {action.dest} has no help'
        for flag in action.option_strings:
            alias = flag in ('--local_rank',)  # PyTorch's spelling
            assert alias or re.fullmatch(r'-h|--[a-z]+(-[a-z]+)*', flag), flag
    with pytest.raises(SystemExit) as stop:
        parser.parse_args(['--help'])
    assert stop.value.code == 0
    with pytest.raises(SystemExit) as stop:
        parser.parse_args(['--no-such-option'])
    assert stop.value.code == 2
    capsys.readouterr()


def test_an_option_means_the_same_in_all_commands():
    """Of one kind: taking a value, a list, or none; settings read alike."""
    kinds: dict[str, dict[str, tuple]] = {}
    for name in VERBS:
        for action in parser_of(name)._actions:
            for flag in action.option_strings:
                kind = (type(action), action.nargs)
                kinds.setdefault(flag, {})[name] = kind
    # The track command writes several files; several trackers are scored at once, and
    # tune tries several thresholds. How many sequences minidance renders, --train says
    # there; the demo trains with it. Frames have a --size of WIDTHxHEIGHT in export, a
    # height and a width in estimate-memory.
    several = {'--out', '--results', '--cfg-options', '--det-thr', '--train', '--size'}
    for flag, by_command in kinds.items():
        if flag not in several:
            assert len(set(by_command.values())) == 1, (flag, by_command)
    assert set(kinds['--cfg-options'].values()) == {(CfgOptions, '+')}
