"""Comparisons and verdicts → one HTML page for reading, which needs no network.

`page` puts it together and writes it, `sections` makes the part of one comparison, `markup`
escapes, `tables`, `pictures`, `claims` and `figures` make what stands on it, `plots` the figures of
a comparison; the CSS and JavaScript beside them are put into the page.
"""
