"""Claim 1 where a measure that sees no identity does as well as the face recognition model."""

import numpy as np
import pandas as pd
import pytest
from synthetic_rows import RULES, judge, make_run

from ppe.attacks.rivals import RIVALS
from ppe.claims.summary import join_claims, load_claims
from ppe.config import save_table


def with_rivals(rows, low=0.05, **lows):
    """A run's rows and those of ``nearest`` minus each rival, whose interval begins at ``low`` or at the rival's own number."""
    head = rows[(rows.metric == "auc") & (rows.control == "none")].iloc[:1]
    parts = [head.assign(metric="auc_difference", versus=rival, value=lows.get(rival, low) + 0.1, low=lows.get(rival, low),
                         high=lows.get(rival, low) + 0.2, p_value=np.nan) for rival in RIVALS]  # fmt: skip
    return pd.concat([rows, *parts], ignore_index=True)


def find_leak(table):
    return table[(table.claim == "C1") & (table.verdict != "shown")].iloc[0]


STRONG = (0.8, 0.7, 0.9)


@pytest.mark.parametrize(
    ("interval", "lows", "leak_of", "verdict"),
    [
        (STRONG, {}, "identity", "supported"), (STRONG, {"pixel": -0.01}, "appearance", "appearance"),
        (STRONG, {"pixel": np.nan}, "appearance", "appearance"),
        ((0.5, 0.4, 0.52), {"pixel": -0.01}, "appearance", "not supported"), ((0.55, 0.45, 0.65), {}, "identity", "inconclusive"),
    ],
)  # fmt: skip
def test_a_supported_claim_is_one_of_appearance_unless_every_rival_is_beaten(interval, lows, leak_of, verdict):
    row = find_leak(judge(with_rivals(make_run("one", interval), **lows)))
    assert (row.leak_of, row.verdict) == (leak_of, verdict)
    assert "over the best measure that sees no identity" in row.reason


def test_rows_without_rivals_are_judged_as_before_and_say_so():
    row = find_leak(judge(make_run("one", STRONG)))
    assert (row.leak_of, row.verdict) == ("untested", "supported") and "was not tested" in row.reason


def test_what_another_sound_embedder_would_say_stands_in_the_reason():
    first = with_rivals(make_run("one", STRONG))
    second = with_rivals(make_run("one", (0.7, 0.6, 0.8)), pixel=-0.04).assign(embedder="second")
    row = find_leak(judge(pd.concat([first, second], ignore_index=True)))
    assert (row.leak_of, row.verdict) == ("identity", "supported"), "it decides nothing"
    assert row.reason.endswith("; +0.06 [-0.04, 0.16] over pixel by the embedder second, which would say appearance")


def test_the_seeds_of_a_setting_are_averaged():
    """One seed's interval reaches below 0; the mean of the two ends does not, and a larger one would."""
    for low, leak_of in ((-0.02, "identity"), (-0.2, "appearance")):
        seeds = [with_rivals(make_run("one", STRONG)), with_rivals(make_run("two", STRONG, seed=2), pixel=low)]
        assert find_leak(judge(*seeds)).leak_of == leak_of
    half = judge(with_rivals(make_run("one", STRONG)), make_run("two", STRONG, seed=2))
    assert find_leak(half).leak_of == "untested", "one seed has no rivals"


def test_appearance_supports_claim_3_nowhere_and_survives_the_joined_page():
    runs = [with_rivals(make_run(name, STRONG, dataset=name, generator=generator), pixel=low)
            for name, generator, low in (("d", "fastgan", 0.05), ("e", "stylegan2", -0.05))]  # fmt: skip
    table = judge(*runs)
    cells = table[table.claim == "C3"].iloc[0]
    assert cells.verdict == "inconclusive" and cells.value == 0.5 and "appearance: e stylegan2" in cells.reason
    joined = join_claims({"one": table}, RULES.alpha)
    assert set(joined[joined.claim == "C1"].verdict) == {"supported", "appearance"}


def test_the_lead_over_rivals_is_corrected_for_the_number_of_verdicts():
    """One setting in forty has such a lead where none leaks identity: alone it is shown, among twenty it is not."""
    close = with_rivals(make_run("one", STRONG), pixel=0.001)
    alone = find_leak(judge(close))
    assert (alone.leak_of, alone.verdict) == ("identity", "supported")
    assert alone.lead_p == pytest.approx(0.024, abs=0.002) and f"over each of them p = {alone.lead_p:.4f}" in alone.reason
    others = [with_rivals(make_run(f"o{n}", STRONG, dataset=f"d{n}"), pixel=-0.05) for n in range(19)]
    table = judge(close, *others)
    among = table[table.runs == "one"].iloc[0]
    assert (among.leak_of, among.verdict) == ("identity", "appearance")
    assert among.p_adjusted < RULES.alpha <= among.lead_p_adjusted


def test_claims_from_before_the_lead_had_a_p_value_keep_their_verdict(tmp_path):
    table = judge(with_rivals(make_run("one", STRONG)), with_rivals(make_run("two", STRONG, dataset="e"), pixel=-0.05))
    save_table(table.drop(columns=["lead_p", "lead_p_adjusted"]), tmp_path / "claims.csv")
    joined = join_claims(load_claims({"one": tmp_path / "claims.csv"}), RULES.alpha)
    assert joined[joined.claim == "C1"].verdict.tolist() == ["supported", "appearance"]
