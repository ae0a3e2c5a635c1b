"""The map: which family is ahead, by budget, number of training images, size, price of a sample.

Chain: contenders (who stands for a family, and its FID at every evaluation point) → verdicts (who
is ahead in a cell, and how sure that is) → grid (panels, rows, columns) → crossings, sentences,
again (commands that make a run again).
"""
