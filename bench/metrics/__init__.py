"""Metrics of generated images, computed from features of real and fake sets."""

from bench.metrics.classes import class_histogram
from bench.metrics.quality import quality

__all__ = ["class_histogram", "quality"]
