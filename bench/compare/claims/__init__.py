"""Verdicts on the claims of the source documents.

`declaration` reads conf/claims, `selection` finds runs, `measurements` and `grids` compute numbers
from them, `estimates` tests these, `verdicts` combines the tests, `questions` says what is open and
what would settle it; `bench.compare.writers.claims` writes the page.
"""
