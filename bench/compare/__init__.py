"""Runs on disk → statistics over seeds → one table per data set. Needs no torch."""
