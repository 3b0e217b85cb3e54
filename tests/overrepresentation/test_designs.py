"""One target a generator: who trains which generator, effects known on paper, and tests whose level holds."""

import itertools

import numpy as np
import pandas as pd
import pytest
from scipy.stats import kstest, ttest_1samp

from ppe.overrepresentation.data_share import KEYS, ROW_COLUMNS, summarise_data_shares
from ppe.overrepresentation.designs import compare_designs, fill_design
from ppe.overrepresentation.latin_square import count_training_photos, plan_data_shares, split_experiment
from ppe.overrepresentation.placebo_test import compare_with_controls

DATA_SHARES = [0.0, 0.01, 0.03, 0.1]
LAYOUT = {"kind": "many", "design": "single", "num_overrepresented": 5, "num_rotations": 15, "data_shares": DATA_SHARES}
SIZES = {"num_photos": 100, "max_background_photos": 2, "query_photos": 3, "num_controls": 4, "seed": 1}


@pytest.fixture(scope="module")
def table():
    rows = [(f"many{i}/{j}", f"many{i}", "attacked") for i in range(7) for j in range(14)]
    rows += [(f"p{i}/{j}", f"p{i}", "attacked") for i in range(20) for j in range(5)]
    rows += [(f"c{i}/{j}", f"c{i}", "background") for i in range(60) for j in range(3)]
    return pd.DataFrame(rows, columns=["image_id", "identity", "role"]).assign(duplicate_of="")


def fill_plan(respond, num_identities=5):
    """Values of the design ``single``; ``respond(target, group, data_share)``."""
    sizes = {"num_overrepresented": num_identities, "num_rotations": 3 * num_identities, "num_photos": 1000}
    plan = plan_data_shares(**LAYOUT | sizes)
    value = [float(respond(cell.target, cell.group, cell.data_share)) for cell in plan.itertuples()]
    return plan.assign(identity="p" + plan.target.astype(str), value=value)


def fill_controls(values, respond, num_controls=20):
    """Values of control identities in the same generators; ``respond(control, group)``."""
    cells = itertools.product(range(num_controls), sorted(values.group.unique()))
    rows = [(f"n{i}", group, float(respond(i, group))) for i, group in cells]
    return pd.DataFrame(rows, columns=["identity", "group", "value"])


def test_each_pair_of_a_target_and_a_data_share_above_0_has_one_generator_of_its_own(table):
    split, plan = split_experiment(table, **LAYOUT, **SIZES)
    trained = plan[plan.data_share > 0]
    pairs = set(zip(trained.target, trained.data_share, strict=True))
    assert pairs == set(itertools.product(range(5), DATA_SHARES[1:])) and len(trained) == 15
    assert (trained.groupby("group").size() == 1).all(), "one target a generator"
    assert (plan[plan.data_share == 0].groupby("target").size() == 12).all(), "0 in the generators of all other targets"
    used = count_training_photos(split[split.role == "train"], plan)
    assert used.num_photos.tolist() == plan.num_photos.tolist() and (used.share == used.data_share).all()
    assert (split[split.role == "train"].groupby("group").size() == 100).all()


def test_generators_of_one_data_share_have_the_same_background_and_nobody_has_two_parts(table):
    split, plan = split_experiment(table, **LAYOUT, **SIZES)
    level = plan[plan.data_share > 0].set_index("group").data_share
    background = split[split.part == "background"].groupby("group").image_id.agg(frozenset)
    assert background.groupby(level).nunique().tolist() == [1, 1, 1]
    large, small = (background[level.index[level == share][0]] for share in (0.01, 0.1))
    assert small < large, "more background where the target has fewer photos"
    assert (split.groupby("identity").part.nunique() == 1).all()
    train, query = (split[split.role == role] for role in ("train", "query"))
    assert not set(train.image_id) & set(query.image_id)
    assert (train[train.part == "target"].groupby("group").identity.nunique() == 1).all(), "no second target in any generator"


def test_both_designs_have_the_same_targets_with_the_same_photos(table):
    single, plan = split_experiment(table, **LAYOUT, **SIZES)
    layout = LAYOUT | {"design": "square", "num_rotations": 4, "num_overrepresented": 3}
    square, other = split_experiment(table, **layout, **SIZES)
    assert list(plan.identity.unique()[:3]) == list(other.identity.unique())
    for target in other.identity.unique():
        used = [set(split.image_id[(split.identity == target)]) for split in (single, square)]
        assert used[0] == used[1]


def test_too_few_photos_for_the_largest_data_share_say_how_many_it_takes(table):
    words = "7 identities with at least 13 photos, but 8 are needed as targets, with 10 training photos .a data share of 0.1 of"
    with pytest.raises(ValueError, match=words):
        split_experiment(table, **LAYOUT | {"num_overrepresented": 8, "num_rotations": 24}, **SIZES)


def test_the_effect_of_each_data_share_is_that_of_the_targets_own_generators():
    """Every generator adds its number to all identities, every target its own: neither is an effect of training."""
    values = fill_plan(lambda target, group, data_share: 2 * data_share)
    controls = fill_controls(values, lambda i, group: 0)
    table = compare_with_controls(values, controls, num_draws=200)
    effects = table[table.statistic == "effect"]
    assert effects.data_share.tolist() == DATA_SHARES[1:] and effects.value.tolist() == pytest.approx([0.02, 0.06, 0.2])
    assert table[table.statistic == "contrast"].value.item() == pytest.approx(0.2)
    level = {"p0": 3.0, "p1": -2.0, "p2": 0.5, "p3": 7.0, "p4": 1.0}
    moved = values.assign(value=values.value + values.identity.map(level))
    again = compare_with_controls(moved, controls, num_draws=200)
    assert again[again.statistic == "effect"].value.tolist() == pytest.approx([0.02, 0.06, 0.2]), "identities differ"
    means = summarise_data_shares(values, num_resamples=0).set_index("data_share")
    assert means.p_value[DATA_SHARES[1:]].tolist() == pytest.approx([1 / 120] * 3), "5! exchanges"


def test_an_exchange_of_targets_gives_the_p_value_counted_by_hand():
    random = np.random.default_rng(0)
    values = fill_plan(lambda target, group, data_share: random.random() + 3 * data_share, num_identities=4)
    table = values.pivot(index="target", columns="group", values="value").to_numpy()
    share = values.pivot(index="target", columns="group", values="data_share").to_numpy()
    own, none = (share == 0.1), (share == 0)

    def contrast(order):
        return np.mean([table[j][own[i]].mean() - table[j][none[i]].mean() for i, j in enumerate(order)])

    expected = np.mean([contrast(order) >= contrast(range(4)) - 1e-12 for order in itertools.permutations(range(4))])
    found = summarise_data_shares(values, num_resamples=0).set_index("data_share").p_value[0.1]
    assert found == pytest.approx(expected)


def list_p_values(respond, respond_control, simulations, random):
    """p-values of simulated experiments of four targets: placebo, imbalance, exchange of targets. Functions of the modes."""
    found = []
    for seed in range(simulations):
        mode = dict(zip([f"r{i:02d}" for i in range(12)], random.pareto(1.2, 12), strict=True))
        values = fill_plan(lambda target, group, data_share: respond(mode[group], target), num_identities=4)  # noqa: B023
        controls = fill_controls(values, lambda i, group: respond_control(mode[group]))  # noqa: B023
        table = compare_with_controls(values, controls, num_draws=199, seed=seed).set_index("statistic").p_value
        own = summarise_data_shares(values, num_resamples=0, num_permutations=9).set_index("data_share").p_value
        found.append((table["contrast"], table["imbalance"], own[0.1]))
    return np.array(found).T


def test_p_values_without_an_effect_are_uniform_with_modes_and_heavy_tails():
    random = np.random.default_rng(3)
    mode = {"respond": lambda mode, target: mode * random.pareto(1.2), "respond_control": lambda mode: mode * random.pareto(1.2)}
    for found in list_p_values(**mode, simulations=100, random=random):
        assert kstest(found, "uniform").pvalue > 0.005 and np.mean(found <= 0.05) < 0.12


def test_targets_that_are_easy_to_match_do_not_count_as_a_leak_where_targets_are_exchanged():
    """The placebo test assumes that they are not: the row ``imbalance`` says so, and the other test needs no such assumption."""
    random = np.random.default_rng(4)
    easy = {"respond": lambda mode, target: (2 + 5 * target) * random.exponential(),
            "respond_control": lambda mode: random.exponential()}  # fmt: skip
    _, imbalance, exchanged = list_p_values(**easy, simulations=60, random=random)
    assert np.mean(exchanged <= 0.05) < 0.12 and np.median(imbalance) < 0.02


def test_the_imbalance_is_what_targets_have_above_control_identities_in_generators_without_them():
    values = fill_plan(lambda target, group, data_share: 0.3 if data_share == 0 else 0.9)
    table = compare_with_controls(values, fill_controls(values, lambda i, group: 0.1), num_draws=500)
    row = table[table.statistic == "imbalance"].iloc[0]
    assert row.value == pytest.approx(0.2) and row.data_share == 0 and row.p_value < 0.01 and np.isnan(row.low)
    alike = compare_with_controls(values, fill_controls(values, lambda i, group: 0.3), num_draws=50)
    assert alike[alike.statistic == "imbalance"].value.item() == pytest.approx(0)


def make_rows(design, effects, name=None):
    """Rows of an experiment whose targets have these effects at a data share of 0.1, and 0.5 in both generators without them."""
    rows = [{"pseudonym": str(i), "data_share": share, "value": 0.5 + (share > 0) * effect}
            for i, effect in enumerate(effects) for share in (0.0, 0.0, 0.1)]  # fmt: skip
    rows.append({"statistic": "effect", "data_share": 0.1, "value": np.mean(effects), "low": 0.01, "high": 0.9})
    named = {"embedder": "first", "measure": "match_share", "calibration": "", "experiment": name or design, "design": design,
             "baseline": "none", "kind": "many"}  # fmt: skip
    rows = pd.DataFrame(rows).fillna({"statistic": "identity"})
    return rows.assign(**named).reindex(columns=[*ROW_COLUMNS])


def test_designs_are_compared_target_by_target_with_students_interval():
    single, square = [0.3, 0.5, 0.1, 0.2], [0.2, 0.1, 0.1, 0.3, 0.9, 0.8]
    table = compare_designs(pd.concat([make_rows("single", single), make_rows("square", square)]))
    row, expected = table.iloc[0], np.subtract(single, square[:4])
    interval = ttest_1samp(expected, 0).confidence_interval()
    assert len(table) == 1 and row.num_identities == 4 and row.difference == pytest.approx(expected.mean())
    assert (row.low, row.high) == pytest.approx((interval.low, interval.high)) and row.agrees
    assert row.value_single == pytest.approx(np.mean(single)) and row.value_square == pytest.approx(np.mean(square))
    apart = compare_designs(pd.concat([make_rows("single", [0.5, 0.51, 0.52]), make_rows("square", [0.1, 0.1, 0.1])]))
    assert not apart.agrees.item() and apart.low.item() > 0


def test_only_experiments_of_one_baseline_and_kind_are_compared():
    single, square = make_rows("single", [0.3, 0.5]), make_rows("square", [0.2, 0.4])
    assert compare_designs(pd.concat([single, square.assign(baseline="other")])).empty
    assert compare_designs(pd.concat([single, square.assign(kind="repeated")])).empty
    assert compare_designs(pd.concat([single, square.assign(kind="none")])).empty and compare_designs(single).empty
    one = compare_designs(pd.concat([make_rows("single", [0.3]), square])).iloc[0]
    assert np.isnan(one.low) and one.difference == pytest.approx(0.1) and one.num_identities == 1


def test_rows_of_earlier_versions_are_latin_squares():
    rows = make_rows("square", [0.2])
    assert (fill_design(rows.drop(columns="design")).design == "square").all()
    assert (fill_design(rows.assign(design="")).design == "square").all()
    assert set(fill_design(pd.concat([rows, make_rows("single", [0.1])])).design) == {"square", "single"}
    assert set(KEYS) < set(rows)
