"""Planting: a person whose photos fill the faces is found, one who has none is not, and too few controls find nobody."""

import numpy as np
import pandas as pd
import pytest
from audit_sets import draw_people, make_audit, make_set, unit

from ppe.audit import power
from ppe.audit.copies import find_repeated
from ppe.audit.limits import count_wanted
from ppe.audit.p_values import split_controls
from ppe.audit.power import find_least_auc, find_least_share
from ppe.audit.scoring import score_photos
from ppe.config import load_params


@pytest.fixture(scope="module")
def rules(root):
    return load_params(root=root).audit


def plant(rules, *, num_controls=60, num_generated=2000, seed=0, observed=(), photos=4, repeated=False):
    rng = np.random.default_rng(seed)
    vectors, identity, _ = draw_people([f"c{n:02}" for n in range(num_controls)], photos, rng)
    cohort = {"one": draw_people([f"x{n}" for n in range(20)], 4, rng)[0]}
    generated = make_set(unit(rng.normal(size=(num_generated, vectors.shape[1]))), np.arange(num_generated), rng)
    scores = score_photos(make_set(vectors, identity, rng), generated, cohort, rules, ["one"])
    people = pd.DataFrame({"p_value": list(observed) or [0.5], "photos_used": 3})
    return power.measure_power(scores, {"one": vectors}, cohort, people, rules, num_generated,
                               repeated=np.full(len(identity), repeated))  # fmt: skip


def test_power_rises_with_the_share_and_reaches_everybody(rules):
    table = plant(rules)
    assert list(table.share) == rules.planted_shares and (table.num_faces == [1, 2, 6, 20, 60]).all()
    assert (np.diff(table.power) >= -0.15).all()
    assert table.power.iloc[-1] == 1 and table.num_planted.iloc[0] == rules.num_planted
    least = find_least_share(table, rules)
    assert least is not None and table.power[table.share >= least].min() >= 0.8


def test_a_copy_of_a_scored_photo_is_not_planted(rules):
    controls = make_audit(num_controls=20, photos=3).faces["controls"]
    rng = np.random.default_rng(1)
    controls.thumbs[:] = rng.integers(0, 256, (len(controls), 3, 4, 4)).repeat(4, 2).repeat(4, 3).astype(np.uint8)
    rows = np.flatnonzero(controls.identity == controls.identity[0])
    controls.thumbs[rows[2]], controls.vectors["one"][rows[2]] = controls.thumbs[rows[0]], controls.vectors["one"][rows[0]]
    repeated = find_repeated(controls, "one", rules.same_picture)
    assert list(np.flatnonzero(repeated)) == [rows[0], rows[2]]
    assert plant(rules, repeated=True).empty and plant(rules, repeated=False).num_planted.iloc[0] == rules.num_planted


def test_planting_nobody_finds_as_many_as_the_false_alarm_rate(rules):
    """A share so small that one face of 2,000 is exchanged for another person's would find hardly anybody."""
    few = plant(rules, num_controls=12, observed=[0.5] * 30)
    assert few.power.max() == 0 and find_least_share(few, rules) is None, "12 controls and a list of 31: out of reach"
    assert few.alone.max() == 0, "1 / 12 is above 0.05"


def test_controls_with_one_photo_have_none_to_spare(rules):
    assert len(plant(rules, photos=1)) == 0


def test_the_least_share_is_one_from_which_all_larger_ones_are_found(rules):
    table = pd.DataFrame({"share": [0.001, 0.01, 0.1], "power": [0.9, 0.5, 0.9], "low": 0.7})
    assert find_least_share(table, rules) == 0.1


@pytest.mark.parametrize(("num_planted", "is_enough"), [(1, False), (5, False), (6, True)])
def test_a_few_planted_people_who_are_all_found_are_no_proof_of_power(rules, num_planted, is_enough):
    found = pd.DataFrame({"share": 0.01, "is_found": [True] * num_planted, "is_alone": True})
    assert (find_least_share(power._tabulate(found, 2000), rules) is not None) == is_enough


@pytest.mark.parametrize("num_people", [1, 5, 20, 100])
def test_with_as_many_controls_as_are_asked_for_a_person_who_is_found_by_all_is_named(root, rules, num_people):
    """The number that docs/audit.md and the report give; with one fewer, a planted person cannot be named."""
    controls = count_wanted(num_people, rules)
    compared = controls - split_controls(np.arange(controls).astype(str), cohort_share=rules.cohort_share,
                                         max_cohort=rules.max_cohort, seed=1).sum()  # fmt: skip
    people = pd.DataFrame({"p_value": np.linspace(0.2, 1, num_people)})
    named = [power._is_named(1 / number, people, rules) for number in (compared, compared - 1)]
    assert named == [True, False], "the planted person, compared with all others"
    assert f"| {num_people} | about {controls:,} |" in (root / "docs" / "audit.md").read_text()


def test_the_least_auc_agrees_with_simulated_groups():
    """20 people against 60 controls, shifted so that the AUC is what the formula says: found in about 80 % of tests."""
    from scipy import stats

    assert np.isnan(find_least_auc(1, 9, 0.05, 0.8)) and np.isnan(find_least_auc(1, 19, 0.05, 0.8)), "p is 1/20 at least"
    least = find_least_auc(20, 60, 0.05, 0.8)
    shift = np.sqrt(2) * stats.norm.ppf(least)
    rng, found = np.random.default_rng(0), []
    for _ in range(400):
        test = stats.mannwhitneyu(rng.normal(shift, size=20), rng.normal(size=60), alternative="greater")
        found.append(test.pvalue < 0.05)
    assert 0.72 < np.mean(found) < 0.88


def test_a_planted_person_is_scored_as_if_the_faces_were_really_exchanged(rules):
    """The shortcut, which keeps the largest values of each photo, agrees with scoring the changed faces anew."""
    sets = make_audit(num_members=0, num_generated=400, num_controls=30)
    controls, generated = sets.faces["controls"], sets.faces["generated"]
    cohort = {"one": sets.faces["people"].vectors["one"]}
    scores = score_photos(controls, generated, cohort, rules, ["one"])
    spare = np.array([0, 1])
    planted = power._score_spare({"one": controls.vectors["one"]}, cohort, spare, rules)
    changed = np.concatenate([generated.vectors["one"], controls.vectors["one"][[0, 1, 0, 1, 0, 1, 0]]])
    anew = score_photos(controls, make_set(changed, np.arange(len(changed)), np.random.default_rng(0)), cohort, rules, ["one"])
    for key in ("one/nearest_top_k", "one/nearest_snorm"):
        top = power._draw_removal(scores.top[key], 0)
        quick = power._replace(top, planted[key], 7, rules, 10**9)  # of so many faces that none is taken away
        assert quick == pytest.approx(anew.value[key], abs=2e-3)
