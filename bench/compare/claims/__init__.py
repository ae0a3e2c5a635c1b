"""Claims of the source documents → verdicts, from the runs that decide them.

`selection` finds runs, `measurements` turns them into numbers by seed, `declaration` reads the
claims of conf/claims, `verdicts` judges them; `bench.compare.writers.claims` writes the page.
"""
