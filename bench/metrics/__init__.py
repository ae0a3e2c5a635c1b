"""Metrics of generated images, computed from features of real and fake sets."""

from bench.metrics.fid import fid_infinity
from bench.metrics.memorisation import memorisation
from bench.metrics.modes import class_histogram
from bench.metrics.quality import quality

__all__ = ["class_histogram", "fid_infinity", "memorisation", "quality"]
