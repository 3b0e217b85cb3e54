"""The placebo test: answers known on paper, and p-values that are uniform where there is no effect."""

import numpy as np
import pandas as pd
import pytest
from scipy.stats import kstest, ttest_1samp

from ppe.overrepresentation.placebo_test import compare_measures, compare_with_controls, find_smallest_p

DATA_SHARES = [0.0, 0.01, 0.03, 0.1, 0.3]
GROUPS = [f"r{i}" for i in range(5)]


def make_tables(targets, controls):
    """Values of a Latin square and of control identities: arrays [P, 5] and [N, 5], generators as columns."""
    cells = [(f"p{i}", GROUPS[r], DATA_SHARES[(i + r) % 5], row[r]) for i, row in enumerate(targets) for r in range(5)]
    others = [(f"n{i}", group, row[r]) for i, row in enumerate(controls) for r, group in enumerate(GROUPS)]
    columns = ["identity", "group", "data_share", "value"]
    return pd.DataFrame(cells, columns=columns), pd.DataFrame(others, columns=["identity", "group", "value"])


def respond(num_identities, response):
    """Values of targets that are ``response`` at the largest data share and 0 elsewhere."""
    return np.array([[response * (DATA_SHARES[(i + r) % 5] == 0.3) for r in range(5)] for i in range(num_identities)])


def test_the_contrast_is_the_largest_data_share_minus_0_and_as_unlikely_as_the_deals_say():
    table = compare_with_controls(*make_tables(respond(5, 0.2), np.zeros((20, 5))), num_draws=999)
    row = table[table.statistic == "contrast"].iloc[0]
    assert row.value == pytest.approx(0.2) and row.p_value == pytest.approx(1 / 1000) and row.low > 0.1 and row.num_controls == 20
    band = table[table.statistic == "control"]
    assert band.data_share.tolist() == DATA_SHARES and (band[["value", "low", "high"]] == 0).all().all()


def test_the_interval_of_an_effect_is_students_over_the_targets():
    """Before, it was what the deals of the treated values as they are leave: too low where targets differ in their effect."""
    random = np.random.default_rng(1)
    grown = np.array([0.05, 0.1, 0.2, 0.25, 0.4])
    values = respond(5, 1.0) * grown[:, None]
    table = compare_with_controls(*make_tables(values, 0.01 * random.random((20, 5))), num_draws=999)
    row = table[table.statistic == "contrast"].iloc[0]
    known = ttest_1samp(grown, 0).confidence_interval(0.95)
    assert (row.value, row.low, row.high) == pytest.approx((0.2, known.low, known.high))
    same = compare_with_controls(*make_tables(respond(5, 0.2), np.zeros((20, 5))), num_draws=99)
    assert same[same.statistic == "effect"].iloc[-1][["low", "high"]].tolist() == pytest.approx([0.2, 0.2])


def test_a_generator_whose_mode_matches_all_identities_is_no_effect():
    """r0 makes a face that all match, targets and controls alike: large at whichever data share a target has there."""
    mode = np.array([0.5, 0, 0, 0, 0])
    table = compare_with_controls(*make_tables(np.tile(mode, (3, 1)), np.tile(mode, (20, 1))), num_draws=500)
    row = table[table.statistic == "contrast"].iloc[0]
    assert row.p_value == 1 and row.low <= 0 <= row.high


def test_p_values_are_uniform_without_an_effect_also_with_heavy_tails():
    random = np.random.default_rng(5)
    found = []
    for trial in range(300):
        drawn = random.pareto(1.2, (25, 5)) * random.pareto(1.2, (1, 5))  # heavy tails by identity and by generator
        table = compare_with_controls(*make_tables(drawn[:5], drawn[5:]), num_draws=199, seed=trial)
        found.append(table.p_value[table.statistic == "contrast"].iloc[0])
    assert kstest(found, "uniform").pvalue > 0.01
    assert np.mean(np.array(found) < 0.05) < 0.09


def test_one_target_cannot_have_a_smaller_p_than_its_controls_allow():
    table = compare_with_controls(*make_tables(respond(1, 1.0), np.zeros((24, 5))), num_draws=4000)
    p_value = table.p_value[table.statistic == "contrast"].item()
    assert p_value == pytest.approx(1 / 25, abs=0.01) and find_smallest_p(1, 24) == 1 / 25
    assert find_smallest_p(5, 24) < 1e-6 and find_smallest_p(40, 40) > 0


def test_an_experiment_without_targets_has_a_band_and_no_contrast():
    values, controls = make_tables(np.zeros((3, 5)), np.ones((4, 5)))
    table = compare_with_controls(values.assign(data_share=0.0), controls, num_draws=50)
    assert table.statistic.tolist() == ["control", "imbalance"] and table.value.tolist() == pytest.approx([1.0, -1.0])


def test_each_embedder_and_measure_is_compared_with_its_own_controls():
    values, controls = make_tables(respond(5, 0.2), np.zeros((20, 5)))
    names = [{"embedder": name, "measure": "match_share", "calibration": ""} for name in ("second", "first")]
    more = controls.assign(value=1.0)
    table = compare_measures(pd.concat([values.assign(**one) for one in names]),
                             pd.concat([more.assign(**names[0]), controls.assign(**names[1])]), num_draws=50)  # fmt: skip
    pairs = zip((more, controls), names, strict=True)
    alone = [compare_with_controls(values, own, num_draws=50).assign(**one) for own, one in pairs]
    pd.testing.assert_frame_equal(table, pd.concat(alone, ignore_index=True))
