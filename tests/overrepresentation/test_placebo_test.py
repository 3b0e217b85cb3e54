"""Null people in the subjects' places: answers known on paper, and p-values that are even where there is nothing."""

import numpy as np
import pandas as pd
import pytest
from scipy.stats import kstest

from ppe.overrepresentation.placebo_test import compare_with_controls, find_smallest_p

DOSES = [0.0, 0.01, 0.03, 0.1, 0.3]
GROUPS = [f"r{i}" for i in range(5)]


def make_tables(targets, null):
    """Values of a Latin square and of null people: arrays [P, 5] and [N, 5], GANs as columns."""
    cells = [(f"p{i}", group, DOSES[(i + r) % 5], row[r]) for i, row in enumerate(targets) for r, group in enumerate(GROUPS)]
    others = [(f"n{i}", group, row[r]) for i, row in enumerate(null) for r, group in enumerate(GROUPS)]
    columns = ["identity", "group", "data_share", "value"]
    return pd.DataFrame(cells, columns=columns), pd.DataFrame(others, columns=["identity", "group", "value"])


def respond(num_identities, response):
    """Values of subjects that are ``response`` at the largest dose and 0 elsewhere."""
    return np.array([[response * (DOSES[(i + r) % 5] == 0.3) for r in range(5)] for i in range(num_identities)])


def test_a_contrast_is_the_largest_dose_minus_dose_0_and_as_unlikely_as_the_deals_say():
    table = compare_with_controls(*make_tables(respond(5, 0.2), np.zeros((20, 5))), num_draws=999)
    row = table[table.statistic == "contrast"].iloc[0]
    assert row.value == pytest.approx(0.2) and row.p_value == pytest.approx(1 / 1000) and row.low > 0.1 and row.num_controls == 20
    band = table[table.statistic == "control"]
    assert band.data_share.tolist() == DOSES and (band[["value", "low", "high"]] == 0).all().all()


def test_a_gan_whose_mode_is_like_everybody_is_no_effect():
    """r0 draws a face that all match, subjects and null people alike: large at whichever dose a subject has there."""
    mode = np.array([0.5, 0, 0, 0, 0])
    table = compare_with_controls(*make_tables(np.tile(mode, (3, 1)), np.tile(mode, (20, 1))), num_draws=500)
    row = table[table.statistic == "contrast"].iloc[0]
    assert row.p_value == 1 and row.low <= 0 <= row.high


def test_p_values_are_even_where_there_is_nothing_also_beside_wild_modes():
    random = np.random.default_rng(5)
    found = []
    for trial in range(300):
        drawn = random.pareto(1.2, (25, 5)) * random.pareto(1.2, (1, 5))  # heavy tails by person and by GAN
        table = compare_with_controls(*make_tables(drawn[:5], drawn[5:]), num_draws=199, seed=trial)
        found.append(table.p_value[table.statistic == "contrast"].iloc[0])
    assert kstest(found, "uniform").pvalue > 0.01
    assert np.mean(np.array(found) < 0.05) < 0.09


def test_one_subject_cannot_be_surer_than_there_are_people():
    table = compare_with_controls(*make_tables(respond(1, 1.0), np.zeros((24, 5))), num_draws=4000)
    assert table.p_value.dropna().iloc[0] == pytest.approx(1 / 25, abs=0.01) and find_smallest_p(1, 24) == 1 / 25
    assert find_smallest_p(5, 24) < 1e-6 and find_smallest_p(40, 40) > 0


def test_a_square_without_doses_has_a_band_and_no_contrast():
    values, null = make_tables(np.zeros((3, 5)), np.ones((4, 5)))
    table = compare_with_controls(values.assign(data_share=0.0), null, num_draws=50)
    assert table.statistic.tolist() == ["control"] and table.value.tolist() == [1.0]
