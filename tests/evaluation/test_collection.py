"""The rows of several runs side by side."""

import pandas as pd
import pytest
from synthetic_scores import RUN, make_photos, make_scores

from ppe.attacks.queries import pseudonymise_scores
from ppe.evaluation.collection import collect_rows, compute_headlines
from ppe.evaluation.membership import evaluate_scores
from ppe.evaluation.tables import KEYS, describe_rows


@pytest.fixture
def photos():
    return make_photos()


@pytest.fixture
def members(photos):
    return photos[photos.role == "train"][["group", "image_id", "identity"]]


def test_rows_of_runs_are_collected_with_the_difference_of_sizes(photos, members, tmp_path):
    files, hidden = {}, {}
    for run, leak, size in (("small", 3.0, 12), ("large", 0.5, 40)):
        scores = make_scores(photos, leak)
        rows = describe_rows(
            pd.concat([
                evaluate_scores(scores, members, num_resamples=50, num_permutations=50, num_shuffles=50),
                pd.DataFrame([{**dict.fromkeys(KEYS, ""), "member_group": "a", "slice": "generated faces", "num_generated": 3}]),
            ]),
            run,
            RUN | {"num_identities": size},
            {"net": 0.95},
        )
        files[run] = tmp_path / f"{run}.csv"
        rows.to_csv(files[run], index=False)
        hidden[run] = pseudonymise_scores(scores)
    (tmp_path / "left-over.csv").write_text("a row of a run that is gone")
    rows = collect_rows(files, hidden)
    difference = rows[rows.metric == "auc_difference"]
    assert list(difference.run) == ["small"] and list(difference.versus) == ["large"]
    head = compute_headlines(rows, ["small", "large"], 0.01)
    gap = head["small"]["identity_auc"] - head["large"]["identity_auc"]
    assert difference.value.iloc[0] == pytest.approx(gap, abs=2e-4) and gap > 0
    assert head["small"]["control_failed"] is False
    with pytest.raises(FileNotFoundError, match="no rows of the runs"):
        collect_rows({**files, "third": tmp_path / "third.csv"}, hidden)
