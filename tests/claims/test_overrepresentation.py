"""Claim 4 is judged on generators with one over-represented identity, where a study has them; Latin squares are shown beside."""

import pandas as pd
import pytest
from synthetic_rows import RULES, make_experiment

from ppe.claims.overrepresentation import judge_data_shares


def name_experiment(name, design, **options):
    rows = make_experiment(name, **options).assign(design=design)
    return rows.assign(group=[f"r{number}" for number in range(len(rows))])


def test_one_identity_a_generator_gives_the_verdict_and_the_square_is_shown():
    single = name_experiment("single", "single", p_value=0.4)
    table = judge_data_shares(pd.concat([name_experiment("many", "square"), single]), RULES).set_index("runs")
    assert table.loc["single none"].verdict == "inconclusive" and table.loc["many none"].verdict == "shown"
    assert "one over-represented identity in each of 15 generators" in table.loc["single none"].reason
    assert table.loc["many none"].reason.endswith("the verdict is that of single, with one over-represented identity a generator")
    assert table.loc["many none"].value == 0.3, "the square's contrast stays in the table"
    repeated = name_experiment("repeated", "square", kind="repeated")
    both = judge_data_shares(pd.concat([repeated, single]), RULES).set_index("runs").verdict
    assert both.to_dict() == {"repeated none": "shown", "single none": "inconclusive"}, "no kind of square is about one identity"


def test_a_square_is_judged_where_no_single_experiment_has_enough_identities_or_its_baseline():
    square = name_experiment("many", "square")
    few = name_experiment("single", "single", num_identities=1)
    verdicts = judge_data_shares(pd.concat([square, few]), RULES).set_index("measure").verdict
    assert verdicts["difference of match_share"].tolist() == ["supported", "shown"]
    other = name_experiment("single", "single").assign(baseline="other")
    assert judge_data_shares(pd.concat([square, other]), RULES).verdict.tolist() == ["supported", "supported"]
    assert judge_data_shares(square.drop(columns="design"), RULES).verdict.tolist() == ["supported"], "rows of an earlier version"


def test_the_reason_gives_what_another_sound_embedder_found():
    first = make_experiment()
    second, weak = (first.assign(embedder=name, embedder_auc=auc) for name, auc in (("second", 0.95), ("weak", 0.6)))
    is_contrast = (second.statistic == "contrast") & (second.measure == "match_share")
    second.loc[is_contrast, ["value", "low", "high", "p_value"]] = 0.02, -0.01, 0.05, 0.3
    (row,) = judge_data_shares(pd.concat([first, second, weak]), RULES).itertuples()
    assert "; by the embedder second: 0.02 [-0.01, 0.05], p = 0.3" in row.reason and "weak" not in row.reason
    assert row.verdict == "supported", "it decides nothing"


def test_the_reason_says_whether_targets_are_easier_to_match_than_control_identities():
    rows = make_experiment()
    imbalance = rows.iloc[[0]].assign(statistic="imbalance", value=0.0002, p_value=0.81)
    reason = judge_data_shares(pd.concat([rows, imbalance]), RULES).reason.iloc[0]
    assert "; targets minus control identities at a data share of 0: 0.0002 (p = 0.81)" in reason


@pytest.mark.parametrize(("shift", "words"), [(0.0, "they agree within the intervals"), (0.8, "they differ at a data share of")])
def test_whether_the_designs_agree_is_shown_at_each_data_share(shift, words):
    single, square = name_experiment("single", "single"), name_experiment("many", "square")
    trained = (single.statistic == "identity") & (single.data_share > 0)
    single.loc[trained, "value"] += shift
    row = judge_data_shares(pd.concat([square, single]), RULES).set_index("measure").loc["match_share, single minus square"]
    assert (row.verdict, row.runs, row.identities) == ("shown", "single many", "5") and row.value == pytest.approx(shift)
    assert words in row.reason and "3.0%: " in row.reason and "10.0%: " in row.reason
