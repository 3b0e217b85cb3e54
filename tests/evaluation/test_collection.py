"""The rows of several runs in one table."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from synthetic_scores import RUN, make_photos, make_scores

from ppe.attacks.selection import pseudonymise_scores, select_queries
from ppe.evaluation.collection import (
    choose_sizes,
    collect_rows,
    compute_headlines,
    compute_roc_curves,
    name_sweep,
    select_headline,
)
from ppe.evaluation.membership import evaluate_scores
from ppe.evaluation.tables import KEYS, describe_rows
from ppe.statistics.metrics import compute_roc

RULES = SimpleNamespace(control_p=0.01, min_verification_auc=0.90, small_auc=0.55)


@pytest.fixture
def photos():
    return make_photos()


@pytest.fixture
def members(photos):
    return photos[photos.role == "train"][["group", "image_id", "identity"]]


def test_rows_of_runs_are_collected_with_the_difference_between_sizes(photos, members, tmp_path):
    files, hidden = {}, {}
    effort = pd.DataFrame([{**dict.fromkeys(KEYS, ""), "member_group": "a", "slice": "generated faces", "num_generated": 3}])
    effort = effort.assign(**dict.fromkeys(["metric", "value", "low", "high", "num_members", "num_non_members"], np.nan))
    for run, leak, size in (("small", 3.0, 12), ("large", 0.5, 40)):
        scores = make_scores(photos, leak)
        judged = evaluate_scores(scores, members, num_resamples=50, num_permutations=50, num_shuffles=50)
        files[run] = [tmp_path / f"{run}.csv", tmp_path / f"{run}-sensitivity.csv"]
        for path, rows in zip(files[run], (judged, effort), strict=True):
            describe_rows(rows, run, RUN | {"num_identities": size}, {"net": 0.95}).to_csv(path, index=False)
        hidden[run] = pseudonymise_scores(scores)
    (tmp_path / "removed.csv").write_text("a row of a run that params.yaml no longer names")
    rows = collect_rows(files, hidden)
    assert (rows.slice == "generated faces").groupby(rows.run).sum().to_dict() == {"small": 1, "large": 1}
    difference = rows[rows.metric == "auc_difference"]
    assert list(difference.run) == ["small"] and list(difference.versus) == ["large"] and list(difference.slice) == ["equal kimg"]
    heads = compute_headlines(rows, ["small", "large"], RULES)
    gap = heads["small"]["auc"] - heads["large"]["auc"]
    assert difference.value.iloc[0] == pytest.approx(gap, abs=2e-4) and gap > 0
    assert heads["small"]["control_failed"] is False and heads["small"]["embedder_is_sound"] is True
    assert heads["small"]["discriminator_auc"] is None and heads["small"]["pixel_auc"] > 0.5
    assert heads["small"]["tpr_at_fpr_1e-1"] > 0.5 and heads["small"]["tpr_at_fpr_1e-2"] is None, "12 people resolve a tenth"
    strict = SimpleNamespace(**{**vars(RULES), "min_verification_auc": 0.99})
    assert compute_headlines(rows, ["small"], strict)["small"]["embedder_is_sound"] is False
    assert select_headline(rows, "small", 0.90).value == pytest.approx(heads["small"]["auc"], abs=1e-4)
    other = {**hidden, "large": hidden["large"].assign(embedder="other")}  # of a machine without the first one's weights
    assert not (collect_rows(files, other).metric == "auc_difference").any(), "before, a sentence on rows without an identity"
    for path in (tmp_path / "third.csv", tmp_path / "third-sensitivity.csv"):
        with pytest.raises(FileNotFoundError, match="no rows of the runs"):
            collect_rows({**files, "third": [files["small"][0], path]}, hidden)


def test_runs_that_differ_in_one_thing_are_named():
    run = RUN | {"max_train_photos": 2}
    assert name_sweep(run, run | {"num_identities": 24}) == "equal kimg"
    assert name_sweep(run, run | {"num_identities": 24, "kimg": 2}) == "equal epochs"
    assert name_sweep(run, run | {"train_photos": 4, "max_train_photos": 4}) == "photos"
    assert name_sweep(run, run) == name_sweep(run, run | {"num_identities": 24, "kimg": 3}) == ""
    assert name_sweep(run, run | {"seed": 2}) == name_sweep(run, run | {"num_identities": 24, "seed": 2}) == ""


def test_the_curve_of_sizes_leaves_out_runs_that_give_no_verdict():
    usual = {"attack": "nearest", "membership": "identity_membership", "level": "photo", "seed": 1, "train_photos": 5,
             "defence": "none", "max_train_photos": 5, "embedder_auc": 0.95}  # fmt: skip
    auc = pd.DataFrame([usual | row for row in (
        {"run": "sound"}, {"run": "no embedder", "attack": "pixel", "embedder_auc": np.nan},
        {"run": "training photos", "membership": "image_membership"}, {"run": "other attack", "attack": "density"},
        {"run": "other membership", "membership": "photo_given_identity"}, {"run": "identity", "level": "identity"},
        {"run": "tuning", "seed": 0}, {"run": "weak", "embedder_auc": 0.85}, {"run": "uneven", "max_train_photos": 9},
        {"run": "failed"},
    )])  # fmt: skip
    excuse = pd.Series("", index=auc.run)
    excuse["failed"] = "the negative control failed (p = 0.001)"
    assert choose_sizes(auc, excuse, 0.90).run.tolist() == ["sound", "no embedder", "training photos"]
    assert "weak" in choose_sizes(auc, excuse, 0.80).run.tolist(), "the threshold is a parameter"
    left = auc[auc.run.isin(["tuning", "failed", "other attack"])]
    assert choose_sizes(left, excuse, 0.90).run.tolist() == ["tuning", "failed"], "all rows of nearest where nothing is left"


def test_roc_curves_are_those_of_the_scores(photos, members):
    scores = make_scores(photos, 1.0)
    scores = scores[scores.attack == "nearest"].round({"score": 4})
    curves = compute_roc_curves({"run": pseudonymise_scores(scores)})
    assert len(curves.groupby(["control", "member_group"])) == 10
    queries = select_queries(scores, members, "identity_membership", "untrained").query("member_group == 'b'")
    expected = compute_roc(queries.score.to_numpy(), queries.is_member.to_numpy())[["fpr", "tpr"]]
    found = curves[(curves.control == "untrained") & (curves.member_group == "b")][["fpr", "tpr"]]
    pd.testing.assert_frame_equal(found.reset_index(drop=True), expected)
