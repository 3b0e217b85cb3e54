"""The columns of a run's rows, and the embedder that gives the verdict."""

import numpy as np
import pandas as pd
from synthetic_queries import draw_queries
from synthetic_scores import RUN

from ppe.evaluation.tables import (
    HEADLINE,
    KEYS,
    choose_embedder,
    describe_constants,
    describe_rows,
    judge_queries,
    match_rows,
    select_verification,
)


def test_an_embedder_that_is_not_sound_is_shown_and_gives_no_verdict():
    assert choose_embedder({"weak": 0.85, "sound": 0.93}, 0.90) == ("sound", True)
    assert choose_embedder({"weak": 0.85, "weaker": 0.5}, 0.90) == ("weak", False), "the first where none is sound"
    assert choose_embedder({"weak": 0.85, "sound": 0.93}, 0.80) == ("weak", True), "the threshold is a parameter"


def test_the_verification_of_a_resolution_follows_the_order_of_the_embedders():
    table = pd.DataFrame({"embedder": ["one", "two", "one"], "resolution": [32, 32, 64], "auc": [0.9, 0.8, 0.99]})
    assert list(select_verification(table, ["two", "one"], 32).items()) == [("two", 0.8), ("one", 0.9)]
    assert np.isnan(select_verification(table, ["two"], 64)["two"]), "never checked"


def test_rows_with_their_own_number_of_faces_keep_it_and_others_have_the_runs():
    rows = pd.DataFrame({"embedder": "net", "value": [0.5, 0.6], "num_generated": [np.nan, 100]})
    rows = rows.assign(**dict.fromkeys(["member_group", "metric", *KEYS[1:]], ""), low=0.0, high=1.0)
    rows = rows.assign(num_members=9, num_non_members=9)
    assert list(describe_rows(rows, "r", RUN).num_generated) == [9, 100]


def test_rows_hold_the_constants_and_the_largest_number_of_training_photos():
    constants = describe_constants({"epsilon": 0.4, "concentration": 16.0, "top_k": 20}, "net")
    rows = describe_rows(constants, "r", RUN, {"net": 0.95}).set_index("metric")
    assert rows.value.to_dict() == {"epsilon": 0.4, "concentration": 16.0, "top_k": 20.0} and set(rows.embedder) == {"net"}
    assert list(rows.attack) == ["monte_carlo", "density", "nearest_top_k"] and set(rows.embedder_auc) == {0.95}
    assert set(rows.max_train_photos) == {RUN["train_photos"]}, "none is the same as train_photos"
    assert set(describe_rows(constants, "r", RUN | {"max_train_photos": 40}).max_train_photos) == {40}


def test_the_negative_control_and_untrained_generators_are_not_pooled():
    settings = {"num_resamples": 10, "num_permutations": 10}
    groups = {
        control: list(judge_queries(draw_queries(), ("auc",), settings, control=control).member_group)
        for control in ("none", "held_out_ceiling", "negative_control", "untrained")
    }
    assert groups["none"] == groups["held_out_ceiling"] == ["a", "b", "pooled"]
    assert groups["negative_control"] == groups["untrained"] == ["a", "b"]


def test_columns_that_are_not_named_are_those_of_the_headline():
    rows = judge_queries(draw_queries(), ("auc",), {"num_resamples": 10, "num_permutations": 10}, embedder="net")
    assert len(match_rows(rows, **HEADLINE, embedder="net", metric="auc")) == 1 and set(KEYS) < set(rows.columns)
