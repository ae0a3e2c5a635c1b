"""docs/recipes.md says what docs/evidence/recipes records, and the YAML files are what it chose."""

import yaml
from hydra import compose, initialize_config_module

from scripts.recipes import page
from scripts.recipes.search import CANDIDATES, Candidate


def test_the_page_is_what_the_records_say():
    assert page.PAGE.read_text() == page.page()


def test_every_candidate_can_be_composed_and_is_recorded():
    listed = yaml.safe_load(CANDIDATES.read_text())
    with initialize_config_module("conf", version_base="1.3"):
        for family, entries in listed.items():
            recorded = {row["candidate"]: row for row in page.read(f"{family}.csv")}
            assert [entry["name"] for entry in entries] == list(recorded)
            for candidate in (Candidate(**entry) for entry in entries):
                overrides = [f"model={candidate.model}", *candidate.overrides.split()]
                recipe = compose("config", overrides).model.training
                assert int(recorded[candidate.name]["batch_size"]) == recipe.batch_size
                assert recorded[candidate.name]["overrides"] == candidate.overrides
                assert int(recorded[candidate.name]["step"]) == candidate.steps


def test_the_chosen_recipes_are_candidates():
    with initialize_config_module("conf", version_base="1.3"):
        chosen = compose("config", ["model=gan_r1_ema_small"]).model
        entries = {e["name"]: e for e in yaml.safe_load(CANDIDATES.read_text())["gan"]}
        entry = entries["R1 0.1, Adam 2e-3 (0, 0.99), longer"]
        tried = compose("config", [f"model={entry['model']}", *entry["overrides"].split()]).model
    assert chosen.build == tried.build
    assert chosen.training.optimizers == tried.training.optimizers
    assert chosen.training.ema_decay in entry["averages"]
