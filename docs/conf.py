"""How Sphinx builds these pages: `make docs`, with every warning an error."""

from __future__ import annotations

from importlib.metadata import version as version_of

project = "VoxelForest"
author = "VoxelForest developers"
version = release = version_of("voxelforest")

extensions = ["myst_parser", "sphinx.ext.autodoc", "numpydoc"]
exclude_patterns: list[str] = []
html_theme = "furo"
html_title = project
html_copy_source = False

# Links between pages are those that also work where the repository is browsed: relative paths, headings by their name.
myst_heading_anchors = 4
# Blocks of `console` carry whole sessions, and some print what no lexer knows.
suppress_warnings = ["misc.highlighting_failure"]

autodoc_typehints = "none"  # numpydoc's sections tell types, shapes and units; signatures stay short
autodoc_member_order = "bysource"
numpydoc_show_class_members = False
