"""`python -m bench.decide`: run seeds until the questions of an experiment are settled."""
