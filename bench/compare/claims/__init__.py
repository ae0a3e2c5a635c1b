"""Claims of the source documents → verdicts, from the runs that decide them.

`conf/claims` declares them. `declaration` reads them, `selection` finds their runs, `measurements`
turns runs into numbers by seed, `verdicts` judges, `page` writes.
"""
