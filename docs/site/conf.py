"""Sphinx's configuration of the site. `build.py` calls it."""

project = "fullresult"
html_title = "fullresult"
author = "The fullresult authors"
extensions = ["myst_parser"]
exclude_patterns = ["beside"]
# The anchors that GitHub gives to headings.
myst_heading_anchors = 6
smartquotes = False

html_theme = "furo"
html_copy_source = False
html_show_sphinx = False
# Fonts and scripts are the site's own: nothing is fetched from other hosts.
html_theme_options = {
    "light_css_variables": {"color-brand-primary": "#1b6e53", "color-brand-content": "#1b6e53"},
    "dark_css_variables": {"color-brand-primary": "#63c7a2", "color-brand-content": "#63c7a2"},
}
