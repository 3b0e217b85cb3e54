"""p-values of people and groups: exact on paper, uniform without a leak, and nobody named that the controls cannot resolve."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from ppe.audit import p_values
from ppe.audit.p_values import choose_count, compute_p, count_needed, flag_people, fuse_scores, order_photos, score_people


def test_a_p_value_counts_the_controls_that_reach_the_score():
    assert compute_p(0.5, [0.1, 0.2, 0.5, 0.9]) == 3 / 5, "a tie counts against the person"
    assert compute_p(1.0, np.zeros(99)) == 0.01
    assert compute_p(-1.0, np.zeros(9)) == 1


def test_so_many_people_must_share_the_smallest_p_value():
    assert count_needed(20, 199, 0.1) == 1, "1 / 200 is 0.1 / 20"
    assert count_needed(20, 198, 0.1) == 2
    assert count_needed(10, 9, 0.1) == 10
    assert count_needed(1, 5, 0.1) == 2, "alone, and out of reach"


def test_flags_are_those_of_benjamini_and_hochberg_on_paper():
    """Of 0.01, 0.02, 0.03 and 0.5, the third is below 3 / 4 of 0.1 and the last is not."""
    table = flag_people(pd.DataFrame({"p_value": [0.01, 0.02, 0.03, 0.5]}), 0.1)
    assert list(table.is_flagged) == [True, True, True, False]
    assert table.q_value.tolist() == pytest.approx([0.04, 0.04, 0.04, 0.5])


def test_all_photos_of_a_person_are_on_one_side_of_the_split():
    identity = np.repeat([f"p{n}" for n in range(30)], 3)
    is_cohort = p_values.split_controls(identity, cohort_share=1 / 3, max_cohort=100, seed=1)
    assert not set(identity[is_cohort]) & set(identity[~is_cohort])
    assert len(set(identity[is_cohort])) == 10
    order = np.random.default_rng(0).permutation(len(identity))
    again = p_values.split_controls(identity[order], cohort_share=1 / 3, max_cohort=100, seed=1)
    assert (again == is_cohort[order]).all(), "the order of photos changes nothing"
    with pytest.raises(ValueError, match="6 control people have a face, but at least 7"):
        p_values.split_controls(np.repeat([f"p{n}" for n in range(6)], 2), cohort_share=1 / 3, max_cohort=100, seed=1)


def test_a_person_is_compared_with_controls_of_as_many_photos():
    assert choose_count(5, np.array([5, 5, 5, 5, 1]), 0.8) == 5
    assert choose_count(5, np.array([5, 5, 5, 3, 1]), 0.8) == 3
    assert choose_count(1, np.array([9, 9]), 0.8) == 1
    identity = np.repeat(["a", "b"], [3, 5])
    place = order_photos(identity, 7)
    assert sorted(place[:3]) == [0, 1, 2] and sorted(place[3:]) == [0, 1, 2, 3, 4]
    scores = np.arange(8.0)
    means = p_values.average_photos(scores, identity, place, 4)
    assert list(means.index) == ["b"] and means["b"] == scores[3:][place[3:] < 4].mean()


def test_a_fused_score_treats_the_person_as_each_control():
    """Whoever of n + 1 people is called the person gets the same score: the condition for an exact p-value."""
    scores = np.random.default_rng(0).normal(size=(2, 9)) * [[1], [50]]
    whole = [fuse_scores(scores[:, i], np.delete(scores, i, axis=1))[0] for i in range(9)]
    person, controls = fuse_scores(scores[:, 0], scores[:, 1:])
    assert [person, *controls] == pytest.approx(whole)
    flat = fuse_scores(np.array([1.0]), np.ones((1, 4)))
    assert flat[0] == 0 and compute_p(*flat) == 1, "equal scores name nobody"


def test_p_values_are_uniform_where_nobody_leaks():
    """2,000 people, each with 49 other controls and two models that agree in part: no difference from the uniform law."""
    rng = np.random.default_rng(3)
    common = rng.normal(size=(2000, 1, 50))
    scores = common + rng.normal(size=(2000, 2, 50)) * [[1], [5]]
    found = np.array([compute_p(*fuse_scores(pool[:, 0], pool[:, 1:])) for pool in scores])
    steps = found - rng.uniform(0, 1 / 50, len(found))  # the law is discrete: 1/50, 2/50, ...
    assert stats.kstest(steps, "uniform").pvalue > 0.01
    assert np.mean(found <= 0.1) == pytest.approx(0.1, abs=0.02)


def test_a_group_that_leaks_is_seen_where_no_single_person_is():
    rng = np.random.default_rng(1)
    names = np.array([f"p{n:03}" for n in range(70)])
    scores = rng.normal(size=70) + np.where(np.arange(70) < 30, 0.9, 0)
    own, others = ({"one": scores[:30]}, names[:30]), ({"one": scores[30:]}, names[30:])
    options = {"num_resamples": 500, "num_permutations": 999, "seed": 0}
    row, queries = p_values.compare_group(own, others, photo_share=0.8, options=options, name="people")
    assert row["p_value"] < 0.01 and row["low"] > 0.5 and row["num_people"] == 30 and len(queries) == 70
    people = flag_people(score_people(own, others, photo_share=0.8, seed=0), 0.1)
    assert not people.is_flagged.any(), "40 controls cannot name one of 30 people"


def test_one_person_and_few_photos_are_no_error():
    own = {"one": np.array([3.0])}, np.array(["ada"])
    others = {"one": np.arange(10.0)}, np.repeat([f"p{n}" for n in range(10)], 1)
    table = score_people(own, others, photo_share=0.8, seed=0)
    assert table.p_value[0] == 8 / 11 and table.min_p[0] == 1 / 11
    options = {"num_resamples": 50, "num_permutations": 99, "seed": 0}
    row, _ = p_values.compare_group(own, others, photo_share=0.8, options=options, name="people")
    assert np.isnan(row["low"]) and 0 < row["p_value"] <= 1
