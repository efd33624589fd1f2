# Copyright (c) mmfdta authors.
"""Settings of Sphinx: the Markdown pages of this folder as HTML."""

project = 'mmfdta'
copyright = 'mmfdta authors'
extensions = ['myst_parser']
exclude_patterns = ['_build']
# Links to files of the repository are for its readers on the web.
suppress_warnings = ['myst.xref_missing']
html_theme = 'alabaster'
myst_heading_anchors = 3
