# Copyright (c) mmfdta authors.
"""Check the built pages: nothing from elsewhere, formulas, and the public names.

python docs/check_site.py docs/_build
"""

import importlib
import sys
from html.parser import HTMLParser
from pathlib import Path

from sphinx.util.inventory import InventoryFile

# Packages whose public names users call; `api.md` describes each of them.
PACKAGES = (
    'mmfdta.apis',
    'mmfdta.datasets',
    'mmfdta.refinement',
    'mmfdta.structures',
    'mmfdta.visualization',
)
ENTRIES = ('mmfdta.evaluation.evaluate', 'mmfdta.evaluation.MOTMetric')
# Tags that make a browser load something, with the attribute that says what.
LOADED = {
    **dict.fromkeys(('audio', 'iframe', 'img', 'script', 'source', 'video'), 'src'),
    'link': 'href',
}


class Page(HTMLParser):
    """What a page loads, how many formulas it has, and its headings."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.external: list[str] = []
        self.formulas = 0
        self.description = ''
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note what a tag loads and describes."""
        values = dict(attrs)
        address = values.get(LOADED.get(tag, '')) or ''
        if address.startswith(('http:', 'https:', '//')):
            self.external.append(address)
        self.formulas += tag == 'math'
        if tag == 'meta' and values.get('name') == 'description':
            self.description = values.get('content') or ''


def check_page(path: Path) -> list[str]:
    """Return the problems of a page."""
    page = Page(path.read_text(encoding='utf-8'))
    problems = [f'loads {address} from elsewhere' for address in page.external]
    source = path.parent / '_sources' / f'{path.stem}.md.txt'
    if source.is_file() and not page.description:
        problems.append('has no description: begin the page with a sentence')
    if path.stem == 'understand_fdta' and page.formulas < 10:
        problems.append(f'has {page.formulas} formulas in MathML, expected 10 or more')
    return problems


def check_names(built: Path) -> list[str]:
    """Return the public names that the pages do not describe."""
    inventory = InventoryFile.loads((built / 'objects.inv').read_bytes(), uri='').data
    described = {
        name
        for kind, items in inventory.items()
        if kind.startswith('py:')
        for name in items
    }
    missing = [name for name in ENTRIES if name not in described]
    for package in PACKAGES:
        module = importlib.import_module(package)
        for name in module.__all__:
            item = getattr(module, name)
            # A class that two packages offer is described once.
            if not callable(item):
                continue
            names = {f'{package}.{name}', f'{item.__module__}.{item.__qualname__}'}
            if not names & described:
                missing.append(f'{package}.{name}')
    return [f'api.html does not describe {name}' for name in missing]


def main() -> int:
    """Print the problems of the site; 1 if there are any."""
    built = Path(sys.argv[1])
    pages = sorted(built.glob('*.html'))
    problems = [f'{page.name} {text}' for page in pages for text in check_page(page)]
    problems += check_names(built)
    for problem in problems:
        print(problem, file=sys.stderr)
    if not pages:
        print(f'{built}: found no pages; run `make docs`', file=sys.stderr)
    return int(bool(problems) or not pages)


if __name__ == '__main__':
    sys.exit(main())
