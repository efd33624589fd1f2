# Copyright (c) mmfdta authors.
"""Formulas as MathML, which browsers draw themselves.

The built pages need no script, font or network for a formula.
"""

from docutils import nodes
from latex2mathml.converter import convert
from sphinx.application import Sphinx
from sphinx.writers.html5 import HTML5Translator


def visit_inline(translator: HTML5Translator, node: nodes.math) -> None:
    """Write a formula of a sentence."""
    translator.body.append(convert(node.astext()))
    raise nodes.SkipNode


def visit_block(translator: HTML5Translator, node: nodes.math_block) -> None:
    """Write a formula on its own line."""
    formula = convert(node.astext(), display='block')
    translator.body.append(f'<div class="math">{formula}</div>\n')
    raise nodes.SkipNode


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the renderer; `html_math_renderer = 'mathml'` chooses it."""
    app.add_html_math_renderer('mathml', (visit_inline, None), (visit_block, None))
    return dict(parallel_read_safe=True, parallel_write_safe=True)
