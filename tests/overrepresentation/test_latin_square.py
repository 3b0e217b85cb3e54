"""The Latin square of targets and data shares: every promise of the design about who trains which generator."""

import pandas as pd
import pytest

from ppe.overrepresentation.latin_square import count_parts, count_training_photos, plan_data_shares, split_experiment

SIZES = {
    "kind": "many", "num_overrepresented": 5, "num_rotations": 5, "data_shares": [0.0, 0.01, 0.02, 0.05, 0.1], "num_photos": 200,
    "max_background_photos": 2, "query_photos": 3, "num_controls": 4, "seed": 1,
}  # fmt: skip


@pytest.fixture(scope="module")
def table():
    rows = [(f"many{i}/{j}", f"many{i}", "attacked", "") for i in range(7) for j in range(24)]
    rows += [(f"p{i}/{j}", f"p{i}", "attacked", "") for i in range(20) for j in range(5)]
    rows += [(f"c{i}/{j}", f"c{i}", "background", "") for i in range(120) for j in range(3)]
    rows += [(f"x{i}/{j}", f"x{i}", "auxiliary", "") for i in range(9) for j in range(9)]
    return pd.DataFrame(rows, columns=["image_id", "identity", "role", "duplicate_of"])


def split_with(table, **changes):
    return split_experiment(table, **{**SIZES, **changes})


@pytest.mark.parametrize("kind", ["many", "repeated"])
def test_each_target_has_each_data_share_and_its_photos_are_counted_exactly(table, kind):
    split, plan = split_with(table, kind=kind)
    members = split[split.role == "train"]
    assert (members.groupby("group").size() == 200).all(), "equally many photos for each generator"
    used = count_training_photos(members, plan)
    assert used.num_photos.tolist() == plan.num_photos.tolist()
    assert (used.share == used.data_share).all()
    for _, cells in plan.groupby("target"):
        assert sorted(cells.data_share) == SIZES["data_shares"], "a target has every data share"
    for _, cells in plan.groupby("group"):
        assert sorted(cells.data_share) == SIZES["data_shares"], "a generator has every data share"
    photos = members[members.part == "target"].groupby(["group", "identity"]).image_id.nunique()
    wanted = plan[plan.data_share > 0].set_index(["group", "identity"]).num_photos.sort_index()
    assert photos.tolist() == ([1] * len(wanted) if kind == "repeated" else wanted.tolist())


def test_two_targets_share_a_data_share_in_one_generator_and_not_in_the_others():
    sizes = {name: SIZES[name] for name in ("kind", "num_rotations", "data_shares")}
    plan = plan_data_shares(**sizes, num_overrepresented=10, num_photos=1000)
    data_share = plan.pivot(index="target", columns="group", values="data_share")
    same = [[int((data_share.loc[i] == data_share.loc[j]).sum()) for j in range(5, 10)] for i in range(5)]
    assert same == [[1] * 5] * 5, "each of the first five meets each of the others once"
    assert all(sorted(cells) == SIZES["data_shares"] for cells in data_share.to_numpy()), "a target has every data share"
    assert (plan.groupby(["group", "data_share"]).size() == 2).all(), "a generator has every data share twice"


@pytest.mark.parametrize("kind", ["many", "repeated", "none"])
def test_no_identity_has_two_parts_and_no_query_photo_is_used_for_training(table, kind):
    split, plan = split_with(table, kind=kind)
    assert (split.groupby("identity").part.nunique() == 1).all()
    assert not split.identity.str.startswith("x").any(), "auxiliary identities are in no set"
    train, query = (split[split.role == role] for role in ("train", "query"))
    assert not set(train.image_id) & set(query.image_id)
    assert set(train.part) == ({"background"} if kind == "none" else {"background", "target"})
    assert query.groupby("part").identity.nunique().to_dict() == {"target": 5, "control": 4}
    assert (query.groupby("identity").size() == 3).all() and (query.group == "").all()
    assert train[train.part == "background"].groupby(["group", "identity"]).size().max() == 2
    assert not train[train.part == "background"].duplicated(["group", "image_id"]).any()
    assert (plan.data_share == 0).all() == (kind == "none")


def test_parts_are_counted_with_repetitions(table):
    counts = count_parts(split_with(table, kind="repeated")[0])
    assert counts.loc[("target", "train")].tolist() == [5, 5, 5 * (2 + 4 + 10 + 20)]
    assert counts.loc[("control", "query")].tolist() == [4, 12, 12] and counts.uses.sum() == 5 * 200 + 9 * 3


def test_kinds_share_targets_queries_and_background(table):
    splits = {kind: split_with(table, kind=kind)[0] for kind in ("many", "repeated", "none")}
    queries = [split[split.role == "query"].reset_index(drop=True) for split in splits.values()]
    for other in queries[1:]:
        pd.testing.assert_frame_equal(queries[0], other)
    background = [splits[kind].query("part == 'background'").reset_index(drop=True) for kind in ("many", "repeated")]
    pd.testing.assert_frame_equal(*background)


def test_an_experiment_of_one_target_has_the_first_of_five(table):
    many, one = split_with(table), split_with(table, num_overrepresented=1)
    target = one[1].identity.iloc[0]
    assert target == many[1].identity.iloc[0]
    of_target = [split[split.identity == target].reset_index(drop=True) for split, _ in (many, one)]
    pd.testing.assert_frame_equal(*of_target)
    assert (one[0].query("role == 'train'").groupby("group").size() == 200).all()


def test_a_smaller_data_share_has_the_first_photos_of_a_larger_one(table):
    split, plan = split_with(table)
    for identity in plan.identity.unique():
        used = [set(part.image_id) for _, part in split[(split.identity == identity) & (split.role == "train")].groupby("group")]
        used.sort(key=len)
        assert all(few < more for few, more in zip(used, used[1:], strict=False)) and len(used) == 4


def test_each_background_of_none_is_another_draw(table):
    split, _ = split_with(table, kind="none", num_rotations=12)
    drawn = [set(part.identity) for _, part in split[split.role == "train"].groupby("group")]
    assert len(drawn) == 12 and all(a != b for i, a in enumerate(drawn) for b in drawn[:i])
    assert list(split[split.role == "train"].group.unique())[:3] == ["r00", "r01", "r02"]


def test_the_split_depends_neither_on_the_order_of_rows_nor_on_chance(table):
    split, plan = split_with(table)
    for again in (table, table.sample(frac=1, random_state=0)):
        other, other_plan = split_with(again)
        pd.testing.assert_frame_equal(split, other)
        pd.testing.assert_frame_equal(plan, other_plan)
    assert set(split_with(table, seed=2)[1].identity) != set(plan.identity) or not split.equals(split_with(table, seed=2)[0])


def test_a_picture_is_used_once_and_not_at_all_under_two_names(table):
    split, plan = split_with(table)
    target = plan.identity[0]
    query = split[(split.identity == target) & (split.role == "query")].image_id.iloc[0]
    used = split[(split.identity == target) & (split.role == "train")].image_id.iloc[0]
    changed = table.copy()
    changed.loc[changed.image_id == used, "duplicate_of"] = query
    changed.loc[changed.image_id == "c5/0", "duplicate_of"] = "c6/0"
    again, _ = split_with(changed)
    assert used not in set(again.image_id) or query not in set(again.image_id)
    assert not {"c5/0", "c6/0"} & set(again.image_id)


def test_too_few_identities_or_photos_raise_a_sentence(table):
    with pytest.raises(ValueError, match="7 identities with at least 23 photos, but 8 are needed as targets"):
        split_with(table, num_overrepresented=8)
    with pytest.raises(ValueError, match="the .* background identities have .* photos, at most 1 of each"):
        split_with(table, num_photos=210, max_background_photos=1)
    with pytest.raises(ValueError, match="a data share of 0.001 of 200 photos is no photo"):
        split_with(table, data_shares=[0.0, 0.001], num_rotations=2)
    with pytest.raises(ValueError, match="leave none for background identities"):
        plan_data_shares(kind="many", num_overrepresented=10, num_rotations=2, data_shares=[0.0, 0.2], num_photos=50)
    with pytest.raises(ValueError, match="is in more than one row"):
        split_with(pd.concat([table, table.head(1)]))
