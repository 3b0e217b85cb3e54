"""Cohen's kappa, against scikit-learn, and the draws behind its interval."""

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import cohen_kappa_score

from ppe.statistics.agreement import bootstrap_kappa


def draw_verdicts(num_identities=15, photos=4, agreement=0.6, seed=3):
    """Verdicts of two models on the photos of two groups under both generators; they often agree."""
    rng = np.random.default_rng(seed)
    identities = [f"{group}{i:02}" for group in "ab" for i in range(num_identities)]
    rows = [(member_group, name) for member_group in "ab" for name in identities for _ in range(photos)]
    table = pd.DataFrame(rows, columns=["member_group", "identity"])
    table["is_member"] = table.identity.str[0] == table.member_group
    first, second = (rng.random(len(table)) < 0.3 for _ in range(2))
    second = np.where(rng.random(len(table)) < agreement, first, second)
    return table.assign(verdict=first), table.assign(verdict=second)


def test_the_value_is_scikit_learns_on_the_sample_itself():
    one, other = draw_verdicts()
    value, low, high = bootstrap_kappa(one, other, num_resamples=500, seed=1)
    groups = zip(one.groupby("member_group"), other.groupby("member_group"), strict=True)
    assert value == pytest.approx(np.mean([cohen_kappa_score(a.verdict, b.verdict) for (_, a), (_, b) in groups]), abs=1e-12)
    assert low < value < high and 0.1 < high - low < 0.6
    assert bootstrap_kappa(one, other, num_resamples=500, seed=1) == (value, low, high), "a function of the seed"


def test_a_resample_is_scikit_learns_kappa_of_the_resampled_photos():
    one, other = (table[table.member_group == "a"] for table in draw_verdicts())
    value, low, high = bootstrap_kappa(one, other, num_resamples=2, confidence=1 - 1e-12, seed=5)
    rng = np.random.default_rng(5)
    identities, samples = one.identity.unique(), []
    counts = np.concatenate([rng.multinomial(15, np.full(15, 1 / 15), 2) for _ in "ab"], axis=1)
    for count in counts:
        rows = np.repeat(np.arange(len(one)), one.identity.map(dict(zip(identities, count, strict=True))))
        samples.append(cohen_kappa_score(one.verdict.iloc[rows], other.verdict.iloc[rows]))
    assert (low, high) == pytest.approx((min(samples), max(samples)))


def test_identities_are_drawn_once_for_both_member_groups():
    """The two models agree on an identity in one member group exactly if they disagree on it in the other.

    Each model calls one photo of each identity a member, so kappa is 2 x (share of agreement) - 1 in every sample. With joint
    draws the two member groups therefore cancel, and with independent draws they would not.
    """
    one, other = draw_verdicts(photos=2)
    is_first = one.groupby(["member_group", "identity"]).cumcount() == 0
    is_alike = (one.identity.str[1:].astype(int) % 2 == 0) == (one.member_group == "a")
    one, other = one.assign(verdict=is_first), other.assign(verdict=is_first == is_alike)
    assert bootstrap_kappa(one, other, num_resamples=200) == pytest.approx((0, 0, 0), abs=1e-9)
    for group in "ab":
        _, low, high = bootstrap_kappa(*(table[table.member_group == group] for table in (one, other)), num_resamples=200)
        assert high - low > 0.3


def test_equal_verdicts_agree_fully_and_constant_ones_have_no_kappa():
    one, _ = draw_verdicts()
    assert bootstrap_kappa(one, one, num_resamples=20) == pytest.approx((1, 1, 1))
    never = one.assign(verdict=False)
    assert np.isnan(bootstrap_kappa(never, never, num_resamples=0)[0])
    assert bootstrap_kappa(one, never, num_resamples=0)[0] == pytest.approx(0, abs=1e-12)
    assert np.isnan(bootstrap_kappa(one, one, num_resamples=1)[1:]).all()
