"""The benchmark: one trainer, one evaluator and one comparison for every family of models."""

__version__ = "0.1.0"
