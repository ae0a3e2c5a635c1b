"""The map of synthetic runs: rows, columns, who stands for a family, who is ahead, how sure."""

import math

import pandas as pd
import pytest
from map_runs import BUDGETS, mapped, power, write_map
from synthetic_runs import PROTOCOL, costs, scores

from bench.compare.cli import gather
from bench.compare.comparison import compare_runs
from bench.compare.map.contenders import contenders, representatives
from bench.compare.map.crossings import crossovers
from bench.compare.map.grid import ANY
from bench.compare.map.sentences import crossover_words, headline, row_notes, sentence
from bench.compare.read import read_runs
from bench.compare.topics.headline import families
from bench.compare.writers.html.map_cells import look
from bench.compare.writers.map import cell_words, map_svg
from bench.evaluation.blind_spots import KINDS, BlindSpot, to_text
from bench.runs.directory import Status

CROSSING = {
    "gan_r1_ema_small": power(10, 0.2),
    "v_diffusion_small": power(12, 0.7),
    "rectified_flow_small": power(40, 0.7),
}
AXES = ("train_images", "image_shape", "budget")


def test_every_flagship_belongs_to_its_family():
    for group in ("flagships", "plain"):
        for family, models in representatives(group).items():
            assert {families()[model] for model in models} == {family}


def test_the_leader_changes_along_the_budget_and_clear_leads_are_settled(tmp_path):
    runs = write_map(tmp_path, CROSSING, seeds=range(8))
    found = mapped(runs)
    (panel,) = found.panels
    assert panel.columns == BUDGETS
    assert [row.title for row in panel.rows] == ["all images"]
    assert panel.title == "fashion_mnist, 16×16"
    cells = found.cells(ANY)
    leaders = [cells[0, 0, k].leader.contender.family for k in range(4)]
    assert leaders == ["GAN", "GAN", "GAN", "diffusion model"]
    assert cells[0, 0, 0].state == cells[0, 0, 3].state == "settled"
    assert cells[0, 0, 3].lead == pytest.approx(10 / 12 * 2**0.5, rel=0.05)
    assert [s.contender.family for s in cells[0, 0, 3].scores][-1] == "flow"


def test_few_seeds_settle_nothing_and_one_says_so(tmp_path):
    found = mapped(write_map(tmp_path, CROSSING, seeds=[0]))
    cell = found.cells(ANY)[0, 0, 0]
    assert cell.state == "open"
    assert math.isnan(cell.p)
    text = sentence(found.panels[0], found.panels[0].rows[0], 0, ANY, cell)
    assert "the GAN leads, and is not shown to be ahead" in text
    assert "With 1 seed nothing can be said of chance" in text


def test_a_price_admits_the_sampler_with_most_steps_that_is_within_it(tmp_path):
    runs = write_map(tmp_path, CROSSING, seeds=range(6))
    found = mapped(runs)
    (panel,) = found.panels
    by_price = {
        price: {c.family: c.sampler for c in found.contenders(panel, panel.rows[0], price)}
        for price in (ANY, 10.0, 1.0)
    }
    assert by_price[ANY] == {"GAN": "generator", "diffusion model": "dpmpp-10", "flow": "heun-5"}
    assert by_price[10.0] == {"GAN": "generator", "diffusion model": "dpmpp-2"}
    assert by_price[1.0] == {"GAN": "generator"}
    expensive, cheap = found.cells(ANY)[0, 0, 3], found.cells(10.0)[0, 0, 3]
    assert expensive.leader.contender.family == "diffusion model"
    assert cheap.leader.contender.family == "GAN"  # two steps cost three times the FID
    assert cheap.missing == (("flow", "too expensive"),)
    alone = found.cells(1.0)[0, 0, 3]
    assert alone.state == "alone"
    text = sentence(panel, panel.rows[0], 3, 1.0, alone)
    assert "at up to 1 ms per sample, the GAN (gan_r1_ema_small, generator) stands alone" in text
    assert (
        "Without a result here: diffusion model (too expensive) and flow (too expensive)." in text
    )


def test_rows_by_number_of_images_and_panels_by_size(tmp_path):
    for dataset, shape in (("fashion_mnist", "1x28x28"), ("fashion_mnist_8", "1x8x8")):
        for images in ("all", "1000", "250"):
            write_map(tmp_path, CROSSING, dataset=dataset, shape=shape, images=images, seeds=[0])
    found = mapped(tmp_path / "runs")
    assert [panel.title for panel in found.panels] == [
        "fashion_mnist, 8×8",
        "fashion_mnist, 28×28",
    ]
    assert [row.title for row in found.panels[0].rows] == [
        "250 images",
        "1,000 images",
        "all images",
    ]


def test_rows_of_longer_runs_reach_further(tmp_path):
    write_map(tmp_path, CROSSING, images="250")
    write_map(tmp_path, CROSSING, images="all", budgets=(*BUDGETS, 240.0))
    found = mapped(tmp_path / "runs")
    assert found.panels[0].columns == (*BUDGETS, 240.0)
    assert found.cells(ANY)[0, 0, 4].state == "empty"
    assert found.cells(ANY)[0, 1, 4].state in ("settled", "open")


def test_a_collapsed_family_is_never_ahead(tmp_path):
    collapsed = {"gan_r1_ema_small": {"warning": "only 2 of 10 modes"}}
    runs = write_map(tmp_path, CROSSING, more=collapsed)
    found = mapped(runs)
    cell = found.cells(ANY)[0, 0, 0]
    assert cell.leader.contender.family == "diffusion model"
    assert cell.scores[-1].contender.family == "GAN"
    assert "The samples of the GAN collapsed or are copies." in " ".join(headline(found).said)


def test_a_family_whose_samples_have_not_changed_yet_is_never_ahead(tmp_path):
    """A generator that is trained after something else has one FID before, good or bad."""
    laws = {
        "gan_r1_ema_small": lambda seconds: 2.0 if seconds < 40 else 400 / seconds,
        "v_diffusion_small": power(12, 0.7),
    }
    found = mapped(write_map(tmp_path, laws))
    at = [found.cells(ANY)[0, 0, k] for k in range(4)]
    assert [[score.fault for score in cell.scores] for cell in at] == [["", "unchanged"]] * 2 + [
        ["", ""]
    ] * 2
    assert "The samples of the GAN have not changed yet: what makes them" in sentence(
        found.panels[0], found.panels[0].rows[0], 0, ANY, at[0]
    )


def test_the_headline_says_who_leads_where_samples_must_be_cheap(tmp_path):
    said = headline(mapped(write_map(tmp_path, CROSSING, seeds=range(6)))).said
    (cheap,) = [text for text in said if text.startswith("At up to 10 ms per sample")]
    assert "the GAN is ahead: FID " in cheap
    assert cheap.endswith("of the diffusion model.")


def near(share: float) -> dict[str, object]:
    """Values of rows of which a share of the samples is nearest to an image trained on."""
    names = ("nearest_trained", "nearest_trained_expected", "nearest_trained_error")
    return {f"{n}_domain": v for n, v in zip(names, (share, 0.024, 0.005), strict=True)}


def test_a_lead_by_memorised_images_is_said_to_be_at_the_end_of_the_runs(tmp_path):
    more = {"v_diffusion_small": near(0.061), "gan_r1_ema_small": near(0.035)}
    made = mapped(write_map(tmp_path, CROSSING, images="250", more=more))
    (panel,) = made.panels
    row, cells = panel.rows[0], made.cells(ANY)
    words = (
        "6.1% of the samples of the diffusion model are nearest to an image that it was trained "
        "on, where 2.4% are expected of one that has memorised none"
    )
    of_row = [cells[0, 0, k] for k in range(len(panel.columns))]
    assert of_row[-1].leader.contender.family == "diffusion model"
    assert f"{words}: part of its lead may be memory." in sentence(panel, row, 3, ANY, of_row[-1])
    assert "memory" not in sentence(panel, row, 2, ANY, of_row[2])  # not measured there
    assert row_notes(panel, row, of_row) == [f"250 images: {words}, at 2 min."]


def test_without_any_sample_near_real_data_nobody_is_recommended(tmp_path):
    far = {f"{m}_domain": 0.0 for m in ("precision", "coverage")}
    runs = write_map(tmp_path, CROSSING, more=dict.fromkeys(CROSSING, far))
    found = mapped(runs)
    cell = found.cells(ANY)[0, 0, 0]
    assert cell.state == "nobody"
    text = sentence(found.panels[0], found.panels[0].rows[0], 0, ANY, cell)
    assert "no family can be recommended" in text
    assert (
        "No sample of the GAN, the diffusion model and the flow is near real images" in text
        or "No sample of" in text
    )


def test_failed_seeds_and_a_single_family_are_said(tmp_path, make_run):
    runs = write_map(tmp_path, {"gan_r1_ema_small": power(10, 0.2)})
    assert not mapped(runs).compared
    write_map(tmp_path, {"v_diffusion_small": power(12, 0.7)})
    make_run(
        "v_diffusion_small",
        9,
        {},
        dataset="fashion_mnist_16",
        variant="all",
        status=Status("failed", "a loss was not finite", step=7),
    )
    found = mapped(runs)
    assert "1 run of the diffusion model failed." in " ".join(headline(found).said)


def test_the_best_of_several_models_is_chosen_on_earlier_seeds(make_run, tmp_path):
    """Each of two GANs is lucky with one seed; seed 0 has none before it to choose by."""
    fids = {"dcgan_sn_small": [4, 10, 10], "wgan_gp_small": [10, 10, 4]}
    for model, values in fids.items():
        for seed, fid in enumerate(values):
            make_run(
                model,
                seed,
                {"g": scores(fid) | costs(1, 0.3) | {"train_seconds": 120.1}},
                protocol=PROTOCOL | {"budget": "seconds=120"},
            )
    comparison = compare_runs(read_runs([tmp_path / "runs"]))
    (gan,) = contenders(comparison, "train_seconds", ANY, "flagships")
    assert gan.label == "the best of 2 on earlier seeds"
    chosen = {seed: point.fid for seed, point in gan.at(120).items()}
    # by seed 0 the first one is better, and by seeds 0 and 1 too: luck of seed 2 is not seen
    assert chosen == {"1": 10, "2": 10}


def test_a_flagship_stands_for_its_family_whatever_others_scored(make_run, tmp_path):
    for model, fid in {"gan_r1_ema_small": 9.0, "wgan_gp_small": 5.0}.items():
        make_run(
            model,
            0,
            {"g": scores(fid) | costs(1, 0.3) | {"train_seconds": 120.1}},
            protocol=PROTOCOL | {"budget": "seconds=120"},
        )
    comparison = compare_runs(read_runs([tmp_path / "runs"]))
    (gan,) = contenders(comparison, "train_seconds", ANY, "flagships")
    assert (gan.label, gan.at(120)["0"].fid) == ("gan_r1_ema_small", 9.0)


def test_the_plain_pair_has_a_map_of_its_own(tmp_path):
    plain = {"dcgan_small": power(12, 0.1), "ddpm_small": power(30, 0.6)}
    found = mapped(write_map(tmp_path, CROSSING | plain), "plain")
    assert found.families == ("GAN", "diffusion model")
    labels = {c.label for c in found.contenders(found.panels[0], found.panels[0].rows[0], ANY)}
    assert labels == {"dcgan_small", "ddpm_small"}


def test_crossovers_in_words(tmp_path):
    found = mapped(write_map(tmp_path, CROSSING, noise=0.01))
    (panel,) = found.panels
    said = [crossover_words(c, panel) for c in crossovers(found, panel, panel.rows[0])]
    assert said[0].startswith("the diffusion model overtakes the GAN after 86 s [")
    assert said[1].startswith(
        "the GAN is ahead at every budget compared, from 15 s on: the flow does not overtake it "
        "within 2 min [never, never]"
    )


def test_runs_without_a_budget_or_families_are_named(make_run, tmp_path):
    runs = write_map(tmp_path, CROSSING)
    make_run(
        "dcgan_small",
        0,
        {"g": scores(9.0) | costs(1, 0.3)},
        dataset="other",
        protocol=PROTOCOL | {"budget": "120 s"},
    )
    make_run(
        "vae_small",
        0,
        {"g": scores(9.0) | costs(1, 0.3)},
        dataset="third",
        protocol=PROTOCOL | {"budget": "seconds=120"},
    )
    found = mapped(runs)
    assert found.skipped == (
        "other: not on the map, its budget limits no seconds, images or operations.",
        "third: not on the map, no model of a family has a result.",
    )


def test_a_blind_fid_ranks_nobody_and_a_poor_classifier_is_named(tmp_path):
    poor = {model: {"classifier_error": 0.129} for model in CROSSING}
    found = mapped(write_map(tmp_path / "poor", CROSSING, more=poor))
    assert found.caveats[1].startswith("fashion_mnist, 16×16: ⚠ FID (domain) rests on")
    assert "12.9 %" in found.caveats[1]
    good = mapped(write_map(tmp_path / "good", CROSSING))
    assert good.caveats == ("all runs: trained and timed on cpu: Example CPU, 2 threads, fp32.",)

    blind = {"blind_domain": to_text([BlindSpot("fid", KINDS[0], 0.05, 0.1)])}
    write_map(tmp_path / "blind", CROSSING)
    runs = write_map(
        tmp_path / "blind", CROSSING, images="250", more=dict.fromkeys(CROSSING, blind)
    )
    found = mapped(runs)
    assert [row.images for row in found.panels[0].rows] == ["all"]
    assert "its FID does not tell known bad samples from real ones" in found.skipped[0]


def test_the_map_names_the_machine_of_each_panel_where_they_differ(tmp_path):
    small = write_map(tmp_path, CROSSING, dataset="fashion_mnist_8", shape="1x8x8")
    for file in small.rglob("eval.csv"):
        text = file.read_text().replace("Example CPU", "Other CPU").replace("fp32", "bf16")
        file.write_text(text)
    found = mapped(write_map(tmp_path, CROSSING))
    assert found.caveats == (
        "fashion_mnist, 8×8: trained and timed on cpu: Other CPU, 2 threads, bf16.",
        "fashion_mnist, 16×16: trained and timed on cpu: Example CPU, 2 threads, fp32.",
    )


def test_the_map_says_once_which_seconds_are_nominal(tmp_path):
    nominal = {"limit": "seconds={},clock=nominal"}
    write_map(tmp_path, CROSSING, dataset="fashion_mnist_8", shape="1x8x8", **nominal)
    found = mapped(write_map(tmp_path, CROSSING, **nominal))
    assert found.caveats[1].startswith("all runs: times of training are nominal")
    by_clock = write_map(tmp_path, CROSSING, dataset="fashion_mnist_28", shape="1x28x28")
    said = "fashion_mnist, 8×8; fashion_mnist, 16×16: times of training are nominal"
    assert mapped(by_clock).caveats[1].startswith(said)


def test_pages_of_data_sets_stand_by_their_numbers(make_run, tmp_path):
    for name in ("x_16", "x_8"):
        make_run("dcgan_small", 0, {"g": scores(9.0) | costs(1, 0.3)}, dataset=name)
    pages, _ = gather([tmp_path / "runs"], mixed=AXES, name=None)
    assert list(pages) == ["x_8", "x_16"]


def test_the_map_says_where_other_features_name_another_leader(tmp_path):
    """By patches the GAN stays ahead where by the first extractor the diffusion model overtakes."""
    laws = {model: CROSSING[model] for model in ("gan_r1_ema_small", "v_diffusion_small")}
    folder = write_map(tmp_path, laws, noise=0.0)
    for file in folder.rglob("eval.csv"):
        table = pd.read_csv(file, dtype=str, keep_default_na=False)
        for column in [name for name in table if name.endswith("_domain")]:
            table[column.replace("_domain", "_patches")] = table[column]
        table["fid_patches"] = "1.5" if "gan_r1_ema_small" in str(file) else "3.5"
        table.to_csv(file, index=False)
    found = mapped(folder)
    cells = list(found.cells(ANY).values())
    leaders = [cell.leader.contender.family for cell in cells]
    assert leaders == ["GAN", "GAN", "GAN", "diffusion model"]
    assert [cell.dissent for cell in cells] == [(), (), (), (("patches", "GAN"),)]
    (panel,) = found.panels
    assert "By FID (patches) the GAN leads instead." in sentence(
        panel, panel.rows[0], 3, ANY, cells[3]
    )
    words = [cell_words(cell) for cell in cells]
    assert [word.endswith(" ‡") for word in words] == [False, False, False, True]
    assert "‡ not by other features" in map_svg(found)
    assert look(cells[3]).lead.endswith(" ‡")
    assert look(cells[3]).label.endswith("; by FID (patches) the GAN leads")
    assert found.caveats[1:] == (
        "fashion_mnist, 16×16: where FID (patches) was measured, it names the same leader in 3 of "
        "4 cells; elsewhere the GAN at 2 min, all images.",
    )


def test_of_equally_dear_samplers_the_first_listed_stands_whatever_it_scored(make_run, tmp_path):
    for seed in range(2):
        rows = {
            "a-10": scores(9.0) | costs(10, 40.0) | {"train_seconds": 120.1},
            "b-10": scores(7.0) | costs(10, 40.0) | {"train_seconds": 120.1},
        }
        protocol = PROTOCOL | {"budget": "seconds=120"}
        make_run("v_diffusion_small", seed, rows, protocol=protocol)
    comparison = compare_runs(read_runs([tmp_path / "runs"]))
    (found,) = contenders(comparison, "train_seconds", ANY, "flagships")
    assert found.sampler == "a-10"


def test_the_sentence_names_the_family_that_is_not_shown_to_be_worse(tmp_path):
    """The diffusion model is clearly behind; the noisy flow, further behind, is not."""
    write_map(tmp_path, {"gan_r1_ema_small": power(10, 0.2), "v_diffusion_small": power(16, 0.2)})
    runs = write_map(tmp_path, {"rectified_flow_small": power(45, 0.2)}, noise=1.5)
    found = mapped(runs)
    cell = found.cells(ANY)[0, 0, 3]
    assert [s.contender.family for s in cell.scores] == ["GAN", "diffusion model", "flow"]
    assert cell.nearest.contender.family == "flow"
    said = " ".join(headline(found).said)
    assert "is not shown to be ahead of the flow; next comes the diffusion model" in said


def test_families_whose_runs_all_failed_are_named(tmp_path, make_run):
    runs = write_map(tmp_path, CROSSING)
    for seed in range(3):
        failed = Status("failed", "a loss was not finite", step=7)
        make_run(
            "drifting_small", seed, {}, dataset="fashion_mnist_16", variant="all", status=failed
        )
    said = " ".join(headline(mapped(runs)).said)
    assert "Without a result here: drifting model (all 3 runs failed)." in said


def test_without_common_seeds_more_seeds_would_not_tell(tmp_path):
    write_map(tmp_path, {"gan_r1_ema_small": power(10, 0.2)}, seeds=range(5))
    runs = write_map(tmp_path, {"v_diffusion_small": power(20, 0.2)}, seeds=range(5, 10))
    said = " ".join(headline(mapped(runs)).said)
    assert "The GAN and the diffusion model have no common seed: train the same seeds" in said


def test_budgets_in_words_are_not_rounded_to_minutes(tmp_path):
    found = mapped(write_map(tmp_path, CROSSING, budgets=(105.0, 125.0, 145.0, 160.0)))
    (panel,) = found.panels
    words = [panel.budget(column) for column in panel.columns]
    assert words == ["105 s", "2 min 5 s", "2 min 25 s", "2 min 40 s"]


def test_a_family_that_is_ahead_in_the_middle_only_is_said_to_be(tmp_path):
    def hump(seconds: float) -> float:
        return 10.0 if 20 < seconds < 100 else 4.0

    laws = {"gan_r1_ema_small": lambda seconds: 6.0, "v_diffusion_small": hump}
    found = mapped(write_map(tmp_path, laws, noise=0.01))
    (said,) = [
        crossover_words(c, found.panels[0])
        for c in crossovers(found, found.panels[0], found.panels[0].rows[0])
    ]
    ahead = "the diffusion model is ahead at 15 s and, as is shown, at 2 min, the GAN in between"
    assert said == ahead


def test_where_a_family_collapsed_it_is_ahead_of_nobody(tmp_path):
    collapsed = {"gan_r1_ema_small": {"warning": "only 2 of 10 modes"}}
    found = mapped(write_map(tmp_path, CROSSING, more=collapsed))
    pairs = crossovers(found, found.panels[0], found.panels[0].rows[0])
    assert {c.first.family for c in pairs} | {c.second.family for c in pairs} == {
        "diffusion model",
        "flow",
    }


def test_below_an_open_answer_stands_a_cell_that_is_settled(tmp_path):
    runs = write_map(tmp_path, CROSSING, seeds=range(8))
    small = headline(mapped(runs))
    assert "is ahead of" in small.said[0]
    assert small.settled == ()
    write_map(tmp_path, CROSSING, dataset="fashion_mnist", shape="1x28x28", seeds=[0])
    large = headline(mapped(runs))
    assert large.said[0].startswith("On fashion_mnist, 28×28, with 2 min of training and all ")
    assert "is not shown to be ahead" in large.said[0]
    first, sure = large.settled
    assert first == small.said[0].replace("On ", "Settled, on ").replace("16, with", "16: with")
    assert sure.startswith("Settled over 8 seeds (p ")


def test_of_settled_cells_that_furthest_along_its_panel_is_told_below_an_open_answer(tmp_path):
    runs = write_map(tmp_path, CROSSING, seeds=range(8))
    small = headline(mapped(runs))
    meeting = {
        "gan_r1_ema_small": power(6, 0.2),
        "v_diffusion_small": lambda seconds: 6 * (seconds / 60) ** -0.2 * (120 / seconds) ** 0.8,
    }
    write_map(
        tmp_path, meeting, dataset="fashion_mnist", shape="1x28x28", seeds=range(8), noise=0.3
    )
    found = mapped(runs)
    states = [found.cells(ANY)[1, 0, k].state for k in range(4)]
    assert states[0] == "settled"
    assert states[-1] == "open"
    large = headline(found)
    assert large.said[0].startswith("On fashion_mnist, 28×28, with 2 min of training and all ")
    assert large.settled[0].startswith(
        small.said[0].replace("On ", "Settled, on ").replace("16, with", "16: with")
    )


def test_equal_families_are_not_said_to_be_ahead(tmp_path):
    laws = {"gan_r1_ema_small": lambda seconds: 6.0, "v_diffusion_small": lambda seconds: 6.0}
    found = mapped(write_map(tmp_path, laws, noise=0.2))
    (pair,) = crossovers(found, found.panels[0], found.panels[0].rows[0])
    said = crossover_words(pair, found.panels[0])
    assert "not known which is ahead" in said


def test_variants_of_a_flagship_do_not_bring_in_other_models(make_run, tmp_path):
    protocol = PROTOCOL | {"budget": "seconds=120"}
    for variant, model, fid in (
        ("aaaa", "gan_r1_ema_small", 9.0),
        ("bbbb", "gan_r1_ema_small", 8.0),
        ("default", "dcgan_small", 2.0),
    ):
        for seed in range(3):
            row = scores(fid) | costs(1, 0.3) | {"train_seconds": 120.1}
            make_run(model, seed, {"g": row}, variant=variant, protocol=protocol)
    comparison = compare_runs(read_runs([tmp_path / "runs"]))
    (gan,) = contenders(comparison, "train_seconds", ANY, "flagships")
    assert {point.fid for point in gan.at(120).values()} == {8.0}
