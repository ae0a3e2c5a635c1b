"""Earlier evaluation points: the best FID along a run, and signs of collapse."""

import pytest
from synthetic_runs import scores

from bench.compare.comparison import compare_runs
from bench.compare.read import read_run, read_runs
from bench.compare.topics.page import notes
from bench.compare.topics.quality import main_table
from bench.compare.writers.csv import to_frame
from bench.compare.writers.markdown import cell_text


def course_of(make_run, seed: int, fids, warnings=None, model="gan"):
    """A run with these FIDs at its evaluation points, and warnings by point."""
    for k, fid in enumerate(fids, start=1):
        row = scores(fid) | {"warning": (warnings or {}).get(k, "")}
        path = make_run(model, seed, {"generator": row}, checkpoint=k, checkpoints=len(fids))
    return path


def test_the_best_point_of_every_sampler_is_kept_beside_the_last(make_run):
    for k, (a, b) in enumerate([(5.0, 7.0), (float("nan"), 3.0), (6.0, 4.0)], start=1):
        path = make_run("ddpm", 0, {"ddim": scores(a), "ddpm": scores(b)}, checkpoint=k)
    ddpm, ddim = compare_runs([read_run(path)]).entries
    assert (ddim.mean["fid_domain"], ddim.mean["best_fid"], ddim.best_at) == (6.0, 5.0, [1])
    assert (ddpm.mean["fid_domain"], ddpm.mean["best_fid"], ddpm.best_at) == (4.0, 3.0, [2])
    assert (ddim.values("best_fid"), ddpm.values("best_fid")) == ({"0": 5.0}, {"0": 3.0})


def test_the_best_along_the_run_is_labelled_and_never_ranked(make_run):
    paths = [course_of(make_run, seed, (9.0 - seed, 1.0 + seed, 8.0)) for seed in range(3)]
    paths.append(course_of(make_run, 0, (7.0, 6.0, 5.0), model="ddpm"))
    comparison = compare_runs(read_runs(paths))
    table = main_table(comparison)
    assert table.headings[-1] == "best FID (domain) in hindsight"
    assert [cell_text(row[-1]) for row in table.rows] == ["5 ± – at 3 of 3", "2.0 ± 1.0 at 2 of 3"]
    assert [entry.model for entry in comparison.entries] == ["ddpm", "gan"]
    frame = to_frame(comparison).set_index("model")
    assert frame.loc["gan", "best_fid_mean"] == 2.0
    assert frame.loc["gan", "best_at"] == "2 2 2"


def test_a_single_evaluation_point_has_no_such_column(make_run):
    table = main_table(compare_runs(read_runs([course_of(make_run, 0, (3.0,))])))
    assert not any("along the run" in heading for heading in table.headings)


@pytest.fixture
def collapsed(make_run):
    paths = [
        course_of(make_run, 10, (3.0, 9.0), {1: "early", 2: "recall 0.01, FID 9"}),
        course_of(make_run, 2, (3.0, 8.0), {2: "41% near-duplicates"}),
        course_of(make_run, 3, (4.0, 3.0), {1: "only 2 of 10 modes"}),
        course_of(make_run, 0, (2.0, 1.0), model="ddpm"),
    ]
    return compare_runs(read_runs(paths))


def test_a_collapsed_entry_is_marked_and_keeps_its_seeds(collapsed):
    assert [collapsed.marked(entry) for entry in collapsed.entries] == ["ddpm", "gan ⚠"]
    gan = collapsed.entries[1]
    assert gan.seeds == ("2", "3", "10")
    assert gan.mean["fid_domain"] == pytest.approx(20 / 3)


def test_notes_say_which_seeds_collapsed_and_how(collapsed):
    assert (
        "⚠ gan, generator: signs of collapse at the last evaluation point in seed 2 "
        "(41% near-duplicates), seed 10 (recall 0.01, FID 9; also at point 1 of 2). "
        "These seeds are included in the means."
    ) in notes(collapsed)
    assert (
        "gan, generator: signs of collapse at earlier evaluation points only in seed 3 at "
        "point 1 of 2."
    ) in notes(collapsed)
    frame = to_frame(collapsed).set_index("model")
    assert (
        frame.loc["gan", "warnings"] == "seed 2: 41% near-duplicates; seed 10: recall 0.01, FID 9"
    )
    assert frame.loc["ddpm", "warnings"] == ""
