"""The benchmark: one trainer, one evaluator and one comparison for every family of models."""

from bench.runtime.import_root import find_ours

__version__ = "0.1.0"

find_ours()
