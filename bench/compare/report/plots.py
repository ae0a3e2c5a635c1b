"""The figures of a comparison, those that its runs have the numbers for."""

from bench.compare.curves import learning_curves
from bench.compare.report.courses import calls_figure, learning_figure
from bench.compare.report.figures import Figure, styles
from bench.compare.report.fronts import sampling_figure, training_figure
from bench.compare.report.held_out import held_out_figures
from bench.compare.report.seed_points import seeds_figure
from bench.compare.statistics import Comparison


def figures(comparison: Comparison) -> list[Figure]:
    """All figures, in the order of the page."""
    looks = styles(comparison)
    if not looks or not comparison.extractors:
        return []
    curves = learning_curves(comparison)
    found = [
        sampling_figure(comparison, looks),
        learning_figure(comparison, curves, looks),
        training_figure(comparison, curves, looks),
        calls_figure(comparison, looks),
        seeds_figure(comparison, looks),
    ]
    return [figure for figure in found if figure] + held_out_figures(comparison, looks)
