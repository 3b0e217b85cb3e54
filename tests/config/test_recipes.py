"""Defences in params.yaml, and which trainings they have."""

import copy

import pytest
import yaml

from ppe.config import load_params
from ppe.config.schema_defences import parse_defence


@pytest.mark.parametrize(
    "text, generator, expected",
    [("none", "fastgan", ("none", None)), ("cap-2", "fastgan", ("cap", 2)), ("stop-0.25", "edm", ("stop", 0.25)),
     ("truncate-0.7", "stylegan2", ("truncate", 0.7)), ("steps-6", "edm", ("steps", 6)), ("filter", "fastgan", ("filter", None)),
     ("dp-8", "edm", ("dp", 8.0))],
)  # fmt: skip
def test_a_defence_is_read(text, generator, expected):
    assert tuple(parse_defence(text, generator)) == expected


@pytest.mark.parametrize(
    "text, generator, sentence",
    [("nothing", "fastgan", "is not one of none, cap-N"), ("cap", "fastgan", "is not one of"),
     ("cap-2.5", "fastgan", "is not one of"), ("none-1", "fastgan", "is not one of"),
     ("stop-1.5", "edm", "at most 1"), ("stop-0", "edm", "above 0"),
     ("truncate-0.7", "fastgan", "is one of stylegan2 alone"), ("dp-8", "fastgan", "is one of edm alone"),
     ("steps-1", "edm", "at least 2"), ("dp--3", "edm", "is not one of"), ("", "edm", "is not one of")],
)  # fmt: skip
def test_a_mistaken_defence_is_one_sentence(text, generator, sentence):
    with pytest.raises(ValueError, match=sentence):
        parse_defence(text, generator)


@pytest.fixture
def load(root, tmp_path):
    content = yaml.safe_load((root / "params.yaml").read_text())
    plain = content["runs"]["synthetic-32-fastgan-10"]

    def read(**runs):
        changed = copy.deepcopy(content)
        changed["runs"] = {"plain": dict(plain)} | {name: plain | line for name, line in runs.items()}
        (tmp_path / "params.yaml").write_text(yaml.safe_dump(changed))
        return load_params(root=tmp_path)

    return read


def test_a_defence_of_what_is_published_shares_the_training_of_the_run_without_it(load):
    filtered, other = {"defence": "filter", "num_effort": None}, {"defence": "filter", "seed": 5}
    params = load(filtered=filtered, capped={"defence": "cap-2"}, other=other)
    folder = {run: params.checkpoints_folder(run, "members") for run in params.runs}
    assert folder["filtered"] == folder["plain"] and params.training_recipe("filtered") == params.training_recipe("plain")
    assert folder["capped"] != folder["plain"] and folder["other"] != folder["plain"], "other photos, another seed"
    assert params.split_settings("capped")["cap"] == 2 and params.split_settings("filtered")["cap"] is None


def test_each_defence_changes_what_it_names_and_nothing_else(load):
    params = load(
        truncated={"generator": "stylegan2", "defence": "truncate-0.7"}, quick={"generator": "edm", "defence": "steps-6"},
        stopped={"defence": "stop-0.25"}, private={"generator": "edm", "defence": "dp-8"}, filtered={"defence": "filter"},
    )  # fmt: skip
    plain = {name: params.generators[name].model_dump() for name in params.generators}
    assert params.generator_settings("truncated") == plain["stylegan2"] | {"truncation": 0.7}
    assert params.generator_settings("quick") == plain["edm"] | {"num_steps": 6}
    assert params.training_recipe("quick")["settings"] == plain["edm"], "sampled in fewer steps, trained as ever"
    assert params.training_recipe("stopped")["kimg"] == 5 and params.training_recipe("plain")["kimg"] == 20
    assert params.training_recipe("private")["settings"]["privacy"]["epsilon"] == 8
    assert params.count_faces("filtered") == dict.fromkeys("abc", 12000)
    assert params.count_faces("plain") == {"a": 10000, "b": 10000, "c": 3000}


@pytest.mark.parametrize(
    "line, sentence",
    [({"defence": "cap-5"}, "leaves out no photo"), ({"defence": "truncate-0.5"}, "runs.bad.defence='truncate-0.5' is one of")],
)  # fmt: skip
def test_a_defence_that_does_not_fit_its_run_is_refused(load, line, sentence):
    with pytest.raises(ValueError, match=sentence):
        load(bad=line)


def test_two_runs_that_are_one_are_refused(load):
    """Before, they were pooled as two seeds, and p fell from 0.004 to 0.00005 on the same evidence."""
    for twin in ({}, {"num_effort": None}, {"max_train_photos": 5}):
        with pytest.raises(ValueError, match=r"runs.again and runs.plain are one setting with one seed, 1: change the seed"):
            load(again=twin)
    assert set(load(again={"seed": 2}, more={"num_generated": 500}).runs) == {"plain", "again", "more"}


def test_channels_that_a_face_is_too_small_for_are_refused(root, tmp_path):
    content = yaml.safe_load((root / "params.yaml").read_text())
    content["runs"]["synthetic-32-fastgan-10"]["generator"] = "edm"
    content["generators"]["edm"]["channels"] = [16] * 5
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(content))
    with pytest.raises(ValueError, match="resolution=32 is too small for 5 generators.edm.channels"):
        load_params(root=tmp_path)
