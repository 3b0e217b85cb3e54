"""Attacks ranked over the runs of all studies, on rows whose gains are chosen."""

import numpy as np
import pandas as pd
import pytest
from synthetic_rows import make_run

from ppe.claims.ranking import rank_attacks


def with_attack(rows, gain, low, high, attack="density", embedder="first", calibration=""):
    """A run's rows and those of another attack: its AUC, and its paired gain over ``nearest``."""
    head = rows[(rows.metric == "auc") & (rows.control == "none")].iloc[:1]
    other = head.assign(attack=attack, embedder=embedder, calibration=calibration)
    numbers = {"metric": "auc_difference", "value": gain, "low": low, "high": high, "versus": "nearest"}
    # A difference is kept with the embedder of ``nearest``, also where the attack has none of its own.
    return pd.concat([rows, other.assign(value=head.value + gain), other.assign(embedder="first", **numbers)], ignore_index=True)


def find(table, attack):
    return table[table.attack == attack].iloc[0]


def test_gains_are_averaged_over_runs_and_a_shared_run_counts_once():
    first = with_attack(make_run("one", (0.7, 0.6, 0.8)), 0.1, 0.02, 0.2)
    second = with_attack(make_run("two", (0.6, 0.5, 0.7)), -0.2, -0.3, -0.1)
    table = rank_attacks([first, pd.concat([first, second])], 0.9)
    row = find(table, "density")
    assert (row.runs, row.better, row.worse) == (2, 1, 1)
    assert row.gain == pytest.approx(-0.05) and row.auc == pytest.approx((0.8 + 0.4) / 2)
    assert table.attack.tolist() == ["nearest", "density"] and find(table, "nearest").gain == 0
    namesake = with_attack(make_run("one", (0.7, 0.6, 0.8), kimg=10), 0.1, 0.02, 0.2)
    assert find(rank_attacks([first, namesake], 0.9), "density").runs == 2, "two studies may use one name for two runs"


def test_tuning_runs_and_runs_without_a_sound_embedder_do_not_count():
    runs = [make_run("tuning", (0.7, 0.6, 0.8), seed=0), make_run("weak", (0.7, 0.6, 0.8), embedder_auc=0.8)]
    counted = with_attack(make_run("one", (0.7, 0.6, 0.8)), 0.1, np.nan, np.nan, attack="learned", embedder="")
    table = rank_attacks([*(with_attack(run, 0.5, 0.4, 0.6) for run in runs), counted], 0.9)
    assert set(table.attack) == {"nearest", "learned"} and (table.runs == 1).all()
    row = find(table, "learned")
    assert row.gain == pytest.approx(0.1) and (row.better, row.worse) == (0, 0), "without an interval nothing is clear"


def test_attacks_by_another_embedder_are_left_out_and_calibrations_are_kept_apart():
    rows = with_attack(make_run("one", (0.7, 0.6, 0.8)), 0.1, 0.05, 0.2, calibration="cohort")
    rows = with_attack(rows, 0.2, 0.1, 0.3, calibration="reference_generator")
    other = rows[rows.attack == "density"].assign(embedder="second", value=0.9)
    table = rank_attacks([pd.concat([rows, other])], 0.9)
    assert table[table.attack == "density"].calibration.tolist() == ["reference_generator", "cohort"]
    assert (table.auc < 0.9 + 1e-9).all() and len(table) == 3
