"""The AUC among look-alikes, on scores whose answer is known."""

import numpy as np
import pandas as pd
import pytest
from synthetic_queries import draw_queries

from ppe.statistics.intervals import bootstrap_identities
from ppe.statistics.matching import bootstrap_matched


def measure_apart(queries, position):
    names = np.unique(queries.identity)
    at = np.array([position(name) for name in names], float)
    return pd.DataFrame(np.abs(at[:, None] - at), names, names)


def make_queries(score, num_identities=12, photos=2):
    rows = [
        (member_group, f"{group}{k:02d}", group == member_group, score(k, group == member_group))
        for member_group in "ab" for group in "ab" for k in range(num_identities) for _ in range(photos)
    ]  # fmt: skip
    return pd.DataFrame(rows, columns=["member_group", "identity", "is_member", "score"])


def test_with_all_non_members_it_is_the_auc_and_its_interval():
    queries = draw_queries(num_identities=12)
    apart = measure_apart(queries, lambda name: len(name))
    row = bootstrap_matched(queries, apart, 99, num_resamples=200, seed=3)
    assert row == pytest.approx(bootstrap_identities(queries, num_resamples=200, seed=3))


def test_a_score_of_appearance_alone_is_at_chance_among_look_alikes():
    """Identity k of either group looks like k. Members are dark, k from 6, and the score is how dark a photo is."""
    queries = make_queries(lambda k, is_member: float(k))
    apart = measure_apart(queries, lambda name: int(name[1:]))
    assert bootstrap_matched(queries, apart, 1, num_resamples=100)["value"] == 0.5
    leak = make_queries(lambda k, is_member: k + 0.5 * is_member)
    assert bootstrap_matched(leak, apart, 1, num_resamples=100)["value"] == 1, "half a step is enough among look-alikes"
    assert bootstrap_identities(leak, num_resamples=0)["value"] < 0.6, "and lost among all"


def test_matches_are_the_nearest_and_each_member_has_its_own():
    """Three look-alikes of member k are k - 1, k and k + 1 (at the ends, the three nearest): the wins are counted by hand."""
    queries = make_queries(lambda k, is_member: float(k))
    apart = measure_apart(queries, lambda name: int(name[1:]))
    won = [np.mean([(k > q) + 0.5 * (k == q) for q in np.clip(k, 1, 10) + np.array([-1, 0, 1])]) for k in range(12)]
    assert bootstrap_matched(queries, apart, 3, num_resamples=50)["value"] == pytest.approx(np.mean(won))


def test_few_identities_have_no_interval_and_bad_input_is_a_sentence():
    queries = draw_queries(num_identities=6)
    apart = measure_apart(queries, lambda name: len(name))
    row = bootstrap_matched(queries, apart, 2, num_resamples=50)
    assert np.isfinite(row["value"]) and np.isnan([row["low"], row["high"]]).all()
    with pytest.raises(ValueError, match="num_matches=0 must be at least 1"):
        bootstrap_matched(queries, apart, 0)
    with pytest.raises(ValueError, match="1 are missing"):
        bootstrap_matched(queries, apart.iloc[1:, 1:], 2)
