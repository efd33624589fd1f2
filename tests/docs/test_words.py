# Copyright (c) mmfdta authors.
"""Words that pages, help texts and messages do not use, as the field has others."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from pages import PAGES, ROOT, page_name, parser_of_verb

from mmfdta.cli.main import VERBS

# Pattern -> what to write instead.
WORDS = {
    r'contestants?': 'tracker, entry',
    r'line-?ups?': 'entries',
    r'(?<!of )courses?': 'training, run',
    r'outcomes?': 'result',
    r'neighbou?rs?': 'baseline; next to',
    r'rooms?': 'memory, space',
    r'spare': 'free',
    r'slots?': 'ID word, place',
    r'hidden (?:pixels|keys|positions|padding|queries|boxes)': 'masked',
    r'marks? of (?:confidence|a detection)': 'score',
    r'(?:\d|ms|MB|GB|s|seconds?|bytes|times|copy|FLOPs) a frame': 'per frame',
    r'sa(?:y|ys|id) so': 'prints, logs, reports it',
    r'(?:is|are) said': 'prints, logs, reports',
    r'but for': 'except',
    r'for want of': 'if there is no',
    r'anew|afresh': 'again',
    r'besides?': 'next to, together with',
    r'(?<!how )(?<!more )alike': 'similar, the same way',
    r'(?:go|goes|going|went) on': 'continue',
    r'stands? (?:in|with)': 'is in',
    r'of (?:its|their) own(?!\s+\w)': 'its own, separate',
    r'lacks': 'be missing',
    r'is an error': 'stops with an error, raises',
    r'rests on': 'comes from',
    r'mend(?:s|ed|ing)?': 'repair',
    r'somebody': 'someone',
}
BANNED = re.compile(rf'\b(?:{"|".join(WORDS)})\b', re.I)
# Identifiers that a page shows and titles of other works.
NAMES = re.compile(r'`[^`\n]*`|https?://\S+|\]\([^)\s]*\)|<!--.*?-->', re.S)
# Docstrings of other projects, on a page that is generated.
FOREIGN = ('Here is an error example',)


def banned(text: str) -> list[str]:
    """Name each word with what is around it."""
    for sentence in FOREIGN:
        text = text.replace(sentence, '')
    around = (
        text[max(0, m.start() - 30) : m.end() + 30] for m in BANNED.finditer(text)
    )
    return [' '.join(words.split()) for words in around]


def prose(page: Path) -> str:
    """The text of a page without code, links and comments."""
    text = re.sub(
        r'^```.*?^```', '', page.read_text(encoding='utf-8'), flags=re.M | re.S
    )
    return NAMES.sub(' x ', text)


def messages(path: Path) -> Iterator[tuple[int, str]]:
    """Strings of a module that are not docstrings; adjacent parts are one string."""
    tree = ast.parse(path.read_text(encoding='utf-8'))
    skipped = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            skipped.add(node.value)
        elif isinstance(node, ast.JoinedStr):
            parts = [
                part.value if isinstance(part, ast.Constant) else 'x'
                for part in node.values
            ]
            skipped.update(node.values)
            yield node.lineno, ''.join(map(str, parts))
        elif (
            isinstance(node, ast.Constant)
            and isinstance(node.value, str)
            and node not in skipped
        ):
            yield node.lineno, node.value


@pytest.mark.parametrize('page', PAGES, ids=page_name)
def test_pages_use_the_usual_words(page):
    if page.name != 'CHANGELOG.md':  # has the names of earlier versions, too
        assert not banned(prose(page))


@pytest.mark.parametrize('verb', VERBS)
def test_help_texts_use_the_usual_words(verb):
    assert not banned(parser_of_verb(verb).format_help())


def test_messages_use_the_usual_words():
    found = [
        f'{path.relative_to(ROOT)}:{line}: {words}'
        for package in ('cli', 'apis')
        for path in sorted((ROOT / 'mmfdta' / package).rglob('*.py'))
        for line, text in messages(path)
        for words in banned(text)
    ]
    assert not found, '\n'.join(found)


@pytest.mark.parametrize(
    'text',
    [
        'One neighbour of FDTA',
        'takes 30 ms a frame',
        'an interrupted run goes on',
        'a threshold that is unknown is an\nerror',
        'in a process of its own.',
        'a warning says so',
        'all boxes alike',
        'during the course',
    ],
)
def test_a_banned_word_is_found(text):
    assert banned(' '.join(text.split()))


@pytest.mark.parametrize(
    'text',
    [
        'of course, a frame without detections',
        'the embeddings of its own head',
        'how alike they are',
        'black: a person in a frame',
        'lists 30 frames',
    ],
)
def test_a_usual_sentence_is_not(text):
    assert not banned(text)


def test_strings_of_a_module_are_read(tmp_path):
    path = tmp_path / 'module.py'
    path.write_text(
        '"""Goes on."""\n'
        'def f(name):\n'
        '    """Goes on."""\n'
        "    return 'the run ' 'goes on'\n"
        "def g(name):\n    raise ValueError(f'{name} goes ' f'on {name}')\n"
    )
    assert list(messages(path)) == [(4, 'the run goes on'), (6, 'x goes on x')]
