"""Verdicts on the claims of the source documents.

`declaration` reads conf/claims, `selection` finds runs, `measurements` computes numbers from them,
`verdicts` tests these; `bench.compare.writers.claims` writes the page.
"""
