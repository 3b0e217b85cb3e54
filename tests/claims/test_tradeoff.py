"""Leak against quality: the rows that a table of defences is made of."""

import numpy as np
import pandas as pd
import pytest
from synthetic_rows import RULES, make_run

from ppe.claims.evidence import describe_evidence
from ppe.claims.tradeoff import compare_defences, find_last_snapshot, trace_training


def add(rows, run, **cells):
    """One more row of a run, like its headline but for ``cells``."""
    headline = rows[(rows.run == run) & (rows.control == "none")].iloc[0]
    return pd.concat([rows, pd.DataFrame([{**headline, **cells}])], ignore_index=True)


@pytest.fixture
def rows():
    table = pd.concat([make_run("ten", (0.8, 0.7, 0.9)), make_run("ten-cap", (0.6, 0.5, 0.7), defence="cap-2")])
    for run, far in (("ten", 0.02), ("ten-cap", 0.05)):
        for kimg, auc in ((0, 0.5), (4, 0.6), (20, 0.8)):
            part = {"slice": f"kimg: {kimg}", "value": auc}
            table = add(table, run, **part)
            table = add(table, run, **part | {"metric": "kernel_distance", "versus": "unseen photos", "value": far * (30 - kimg)})
            table = add(table, run, **part | {"metric": "kernel_distance", "versus": "train photos", "value": 99.0})
        table = add(table, run, metric="detected_share", value=0.9)
        table = add(table, run, metric="detected_share", versus="unseen photos", value=1.0)
    table = add(table, "ten", attack="learned", embedder="", value=0.85, low=0.8, high=0.9)
    return add(table, "ten", embedder="other", value=0.7)


def test_each_run_has_its_leak_and_the_quality_of_its_last_snapshot(rows):
    table = compare_defences(rows, ["ten", "ten-cap"], 0.9).set_index("run")
    assert table.auc.tolist() == [0.8, 0.6] and table.defence.tolist() == ["none", "cap-2"]
    assert table.kernel_distance.tolist() == pytest.approx([0.2, 0.5]), "of the last snapshot, to unseen photos"
    assert table.detected_share.tolist() == [0.9, 0.9], "of generated faces, not of photos"
    assert table.loc["ten", "strongest_auc"] == 0.85 and table.loc["ten", "other_auc"] == 0.7
    assert np.isnan(table.loc["ten-cap", "strongest_auc"]) and np.isnan(table.loc["ten", "diversity"])


def test_a_change_has_the_interval_of_the_paired_difference(rows):
    embedder = rows.embedder[rows.run == "ten"].iloc[0]
    link = {"run": "ten", "versus": "ten-cap", "embedder": embedder, "correlation": 1.0, "bound": 1.0, "num_shared": 20}
    known, unknown = (compare_defences(rows, ["ten", "ten-cap"], 0.9, shared) for shared in (pd.DataFrame([link]), None))
    assert known.change.tolist()[1] == unknown.change.tolist()[1] == pytest.approx(-0.2) and np.isnan(known.change[0])
    # By MOVER, both arms being 0.1 and r = 0.95: 1.0 is known to a tenth, and the cautious end of that is taken.
    arm = np.sqrt(0.01 + 0.01 - 2 * 0.95 * 0.01)
    assert known.loc[1, ["change_low", "change_high"]].tolist() == pytest.approx([-0.2 - arm, -0.2 + arm])
    assert unknown.change_high[1] - unknown.change_low[1] > known.change_high[1] - known.change_low[1]
    for name, auc in (("zz", 0.55), ("aa", 0.4)):  # the second model is the second of the data set, and not of the alphabet
        rows = add(rows, "ten-cap", embedder=name, value=auc)
        rows = add(rows, "ten", embedder=name, value=0.7)
    order = compare_defences(rows[rows.embedder != "other"], ["ten", "ten-cap"], 0.9).loc[1]
    assert (order.other_auc, order.other_change) == (0.55, pytest.approx(-0.15))
    alone = compare_defences(rows, ["ten-cap"], 0.9)
    assert alone.change.isna().all(), "the run without a defence is not in the table"


def test_the_path_of_a_training_leaves_out_the_untrained_generator(rows):
    path = trace_training(rows, ["ten"], 0.9)
    assert path.kimg.tolist() == [4, 20] and path.auc.tolist() == [0.6, 0.8]
    assert path.kernel_distance.tolist() == pytest.approx([0.02 * 26, 0.02 * 10])


def test_the_last_snapshot_is_the_latest_and_not_the_last_in_the_alphabet():
    assert find_last_snapshot(pd.DataFrame({"slice": ["kimg: 5", "kimg: 20", "kimg: 2.5", "all"]})) == "kimg: 20"
    assert find_last_snapshot(pd.DataFrame({"slice": ["all"]})) == ""


def test_no_claim_rests_on_a_defended_run(rows):
    excuse = describe_evidence(rows, RULES).set_index("run").excuse
    assert excuse["ten"] == "" and "defended by cap-2" in excuse["ten-cap"]
