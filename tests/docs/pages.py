# Copyright (c) mmfdta authors.
"""What stands on the pages: code blocks, links, commands."""

import argparse
import re
import runpy
import shlex
import sys
from dataclasses import dataclass
from pathlib import Path
from unittest.mock import patch

from mmfdta.cli.main import build_parser

ROOT = Path(__file__).resolve().parents[2]
PAGES = [
    *(ROOT / name for name in ('README.md', 'CONTRIBUTING.md', 'CHANGELOG.md')),
    *sorted((ROOT / 'docs').glob('*.md')),
]
SHELLS = ('shell', 'bash', 'sh', 'console')
_FENCE = re.compile(r'^```([\w{}-]*)\n(.*?)^```', re.M | re.S)
_ASSIGNMENT = re.compile(r'^(\w+)=(?:"([^"]*)"|(\S*))$', re.S)


@dataclass(frozen=True)
class Command:
    """A command on a page.

    Attributes:
        page: Name of the page.
        words: Its words, as a shell reads them.
    """

    page: str
    words: tuple[str, ...]

    def __str__(self) -> str:
        """Name it in the report of a test."""
        return f'{self.page}: {" ".join(self.words)[:90]}'


def page_name(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def code_blocks(page: Path, *languages: str) -> list[str]:
    """The code blocks of a page in some languages."""
    text = page.read_text(encoding='utf-8')
    return [block for language, block in _FENCE.findall(text) if language in languages]


def shell_words(block: str) -> list[tuple[str, ...]]:
    """Split a block into commands, as a shell would; variables are put in."""
    variables: dict[str, str] = {}
    commands = []
    # A line goes on after a backslash and inside of quotes.
    text, lines = '', []
    for line in block.replace('\\\n', ' ').splitlines():
        text = f'{text}\n{line}' if text else line
        if text.count('"') % 2 == 0 and re.sub(r"(?<=\w)'(?=s\b)", '', text):
            lines.append(text)
            text = ''
    assert not text, f'a quote is not closed: {text}'
    for line in lines:
        assigned = _ASSIGNMENT.match(line)
        if assigned:
            variables[assigned[1]] = assigned[2] or assigned[3]
            continue
        for name, value in variables.items():
            line = re.sub(rf'\$\{{?{name}\b\}}?', lambda _, v=value: v, line)
        words = shlex.split(line, comments=True)
        if words:
            commands.append(tuple(words))
    return commands


def all_commands() -> list[Command]:
    """Every command of every page."""
    return [
        Command(page_name(page), words)
        for page in PAGES
        for block in code_blocks(page, *SHELLS)
        for words in shell_words(block)
    ]


class _FoundError(Exception):
    def __init__(self, parser: argparse.ArgumentParser) -> None:
        self.parser = parser


def parser_of_module(main, *arguments) -> argparse.ArgumentParser:
    """The parser that a command's `main` makes; nothing is run."""

    def caught(parser, *_, **__):
        raise _FoundError(parser)

    with patch.object(argparse.ArgumentParser, 'parse_args', caught):
        try:
            main(*arguments)
        except _FoundError as found:
            return found.parser
    raise AssertionError('the command has read no arguments')


def parser_of_verb(verb: str) -> argparse.ArgumentParser:
    """The parser of `mmfdta VERB`."""
    (verbs,) = build_parser(verb)._subparsers._group_actions
    return verbs.choices[verb]


def parser_of_script(path: Path) -> argparse.ArgumentParser:
    """The parser of a script."""
    verb = re.search(
        r"main\(\['([\w-]+)', \*sys.argv", path.read_text(encoding='utf-8')
    )
    if verb:
        return parser_of_verb(verb[1])
    folder = str(path.parent)
    with (
        patch.object(sys, 'argv', [str(path)]),
        patch.object(sys, 'path', [folder, *sys.path]),
    ):
        return parser_of_module(runpy.run_path, str(path), None, '__main__')
