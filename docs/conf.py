# Copyright (c) mmfdta authors.
"""Settings of Sphinx: the Markdown pages of this folder as HTML."""

import sys
from pathlib import Path

from mmfdta.version import __repository__, __version__

sys.path.insert(0, str(Path(__file__).parent / '_extensions'))

project = 'mmfdta'
copyright = 'mmfdta authors'
release = __version__
language = 'en'
extensions = [
    'myst_parser',
    'sphinx.ext.autodoc',
    'sphinx.ext.napoleon',
    'sphinx_copybutton',
    'descriptions',
    'mathml',
]
exclude_patterns = ['_build']
templates_path = ['_templates']

html_theme = 'furo'
html_title = f'mmfdta {release}'
html_logo = html_favicon = '_static/logo.svg'
html_static_path = ['_static']
html_css_files = ['mmfdta.css']
html_search_scorer = str(Path(__file__).parent / '_static' / 'search_scorer.js')
html_math_renderer = 'mathml'
html_theme_options = {
    'source_repository': __repository__,
    'source_branch': 'main',
    'source_directory': 'docs/',
    # Pages change by pull request, with their tests; there is no button to edit one.
    'top_of_page_buttons': ['view'],
    'footer_icons': [
        {
            'name': 'Source code on GitHub',
            'url': __repository__,
            'html': (
                '<svg viewBox="0 0 16 16" fill="none" stroke="currentColor"'
                ' stroke-width="1.6"><circle cx="4" cy="3" r="1.7"/>'
                '<circle cx="4" cy="13" r="1.7"/><circle cx="12" cy="5" r="1.7"/>'
                '<path d="M4 5v6M12 7c0 3-8 1-8 4"/></svg>'
            ),
            'class': '',
        }
    ],
}
html_sidebars = {
    '**': [
        'sidebar/brand.html',
        'sidebar/search.html',
        'sidebar/scroll-start.html',
        'sidebar/navigation.html',
        'sidebar/repository.html',
        'sidebar/scroll-end.html',
    ]
}

myst_enable_extensions = ['dollarmath']
myst_heading_anchors = 3
# Two dashes of an option stay two dashes.
smartquotes = False
# What a reader would not type is not copied.
copybutton_prompt_text = r'>>> |\.\.\. |\$ '
copybutton_prompt_is_regexp = True
copybutton_exclude = '.linenos, .gp, .go'

autodoc_member_order = 'bysource'
# Types go to what a docstring describes. Fields of a dataclass, which it describes as
# attributes, are not listed a second time as parameters.
autodoc_typehints = 'description'
autodoc_typehints_description_target = 'documented'
# Links to files of the repository are for its readers on the web.
suppress_warnings = ['myst.xref_missing']
