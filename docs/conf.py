# Copyright (c) mmfdta authors.
"""Settings of Sphinx: the Markdown pages of this folder as HTML."""

from mmfdta.version import __repository__, __version__

project = 'mmfdta'
copyright = 'mmfdta authors'
release = __version__
extensions = [
    'myst_parser',
    'sphinx.ext.autodoc',
    'sphinx.ext.napoleon',
    'sphinx.ext.mathjax',
]
exclude_patterns = ['_build']
html_theme = 'furo'
html_title = f'mmfdta {release}'
html_theme_options = {
    'source_repository': __repository__,
    'source_branch': 'main',
    'source_directory': 'docs/',
}
myst_enable_extensions = ['dollarmath']
myst_heading_anchors = 3
# Two dashes of an option stay two dashes.
smartquotes = False
autodoc_typehints = 'description'
autodoc_member_order = 'bysource'
# Links to files of the repository are for its readers on the web.
suppress_warnings = ['myst.xref_missing']
