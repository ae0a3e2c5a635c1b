"""Comparisons and verdicts → one HTML page for reading, which needs no network.

`page` gathers what the page shows and fills in page.html.jinja, which takes its parts from the
other templates, and the CSS and scripts beside it. `templates` escapes every text. `section`,
`claims` and `pictures` prepare what their templates show, `charts` and `plotly` the figures.
"""
