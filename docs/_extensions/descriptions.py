# Copyright (c) mmfdta authors.
"""The description that search engines and previews of links show for a page."""

from html import escape
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx

_LONGEST = 200


def add_description(
    app: Sphinx, page: str, template: str, context: dict[str, Any], tree: nodes.document
) -> None:
    """Describe a page by its first paragraph of text."""
    if tree is None:
        return
    for paragraph in tree.findall(nodes.paragraph):
        text = ' '.join(paragraph.astext().split())
        if len(text) < 20:
            continue
        if len(text) > _LONGEST:
            text = text[: _LONGEST - 3].rsplit(' ', 1)[0] + '...'
        for key in ('name="description"', 'property="og:description"'):
            context['metatags'] += f'<meta {key} content="{escape(text)}">\n'
        title = escape(f'{context["title"]} - {app.config.project}')
        context['metatags'] += f'<meta property="og:title" content="{title}">\n'
        return


def setup(app: Sphinx) -> dict[str, bool]:
    """Add the description when a page is written."""
    app.connect('html-page-context', add_description)
    return dict(parallel_read_safe=True, parallel_write_safe=True)
