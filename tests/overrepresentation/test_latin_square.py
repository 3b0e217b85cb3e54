"""The Latin square of people and doses: every promise of the protocol about who is shown to whom."""

import pandas as pd
import pytest

from ppe.overrepresentation.latin_square import count_shown, plan_data_shares, split_experiment

SIZES = {
    "kind": "many", "num_overrepresented": 5, "num_rotations": 5, "data_shares": [0.0, 0.01, 0.02, 0.05, 0.1], "num_photos": 200,
    "max_background_photos": 2, "query_photos": 3, "num_controls": 4, "seed": 1,
}  # fmt: skip


@pytest.fixture(scope="module")
def table():
    rows = [(f"star{i}/{j}", f"star{i}", "attacked", "") for i in range(7) for j in range(24)]
    rows += [(f"p{i}/{j}", f"p{i}", "attacked", "") for i in range(20) for j in range(5)]
    rows += [(f"c{i}/{j}", f"c{i}", "background", "") for i in range(120) for j in range(3)]
    rows += [(f"x{i}/{j}", f"x{i}", "auxiliary", "") for i in range(9) for j in range(9)]
    return pd.DataFrame(rows, columns=["image_id", "identity", "role", "duplicate_of"])


def split_with(table, **changes):
    return split_experiment(table, **{**SIZES, **changes})


@pytest.mark.parametrize("kind", ["many", "repeated"])
def test_each_subject_passes_through_each_dose_and_its_photos_are_counted_exactly(table, kind):
    split, plan = split_with(table, kind=kind)
    members = split[split.role == "train"]
    assert (members.groupby("group").size() == 200).all(), "equally many photos for each GAN"
    shown = count_shown(members, plan)
    assert shown.num_photos.tolist() == plan.num_photos.tolist()
    assert (shown.share == shown.data_share).all()
    for _, cells in plan.groupby("target"):
        assert sorted(cells.data_share) == SIZES["data_shares"], "a subject passes through every dose"
    for _, cells in plan.groupby("group"):
        assert sorted(cells.data_share) == SIZES["data_shares"], "a GAN holds every dose"
    photos = members[members.part == "target"].groupby(["group", "identity"]).image_id.nunique()
    wanted = plan[plan.data_share > 0].set_index(["group", "identity"]).num_photos.sort_index()
    assert photos.tolist() == ([1] * len(wanted) if kind == "repeated" else wanted.tolist())


def test_two_subjects_share_a_dose_in_one_gan_and_not_in_the_others():
    plan = plan_data_shares(kind="many", num_overrepresented=10, num_rotations=5, data_shares=SIZES["data_shares"], num_photos=1000)
    data_share = plan.pivot(index="target", columns="group", values="data_share")
    same = [[int((data_share.loc[i] == data_share.loc[j]).sum()) for j in range(5, 10)] for i in range(5)]
    assert same == [[1] * 5] * 5, "each of the first five meets each of the others once"
    assert all(sorted(cells) == SIZES["data_shares"] for cells in data_share.to_numpy()), "a subject passes through every dose"
    assert (plan.groupby(["group", "data_share"]).size() == 2).all(), "a GAN holds every dose twice"


@pytest.mark.parametrize("kind", ["many", "repeated", "none"])
def test_nobody_is_in_two_groups_and_no_unseen_photo_is_shown(table, kind):
    split, plan = split_with(table, kind=kind)
    assert (split.groupby("identity").part.nunique() == 1).all()
    assert not split.identity.str.startswith("x").any(), "auxiliary people are in no set"
    train, query = (split[split.role == role] for role in ("train", "query"))
    assert not set(train.image_id) & set(query.image_id)
    assert set(train.part) == ({"background"} if kind == "none" else {"background", "target"})
    assert query.groupby("part").identity.nunique().to_dict() == {"target": 5, "control": 4}
    assert (query.groupby("identity").size() == 3).all() and (query.group == "").all()
    assert train[train.part == "background"].groupby(["group", "identity"]).size().max() == 2
    assert not train[train.part == "background"].duplicated(["group", "image_id"]).any()
    assert (plan.data_share == 0).all() == (kind == "none")


def test_kinds_share_subjects_queries_and_crowd(table):
    splits = {kind: split_with(table, kind=kind)[0] for kind in ("many", "repeated", "none")}
    queries = [split[split.role == "query"].reset_index(drop=True) for split in splits.values()]
    for other in queries[1:]:
        pd.testing.assert_frame_equal(queries[0], other)
    baseline = [splits[kind].query("part == 'crowd'").reset_index(drop=True) for kind in ("many", "repeated")]
    pd.testing.assert_frame_equal(*baseline)


def test_a_square_of_one_has_the_first_of_five(table):
    many, one = split_with(table), split_with(table, num_overrepresented=1)
    target = one[1].identity.iloc[0]
    assert target == many[1].identity.iloc[0]
    of_subject = [split[split.identity == target].reset_index(drop=True) for split, _ in (many, one)]
    pd.testing.assert_frame_equal(*of_subject)
    assert (one[0].query("role == 'train'").groupby("group").size() == 200).all()


def test_a_smaller_dose_shows_the_first_photos_of_a_larger_one(table):
    split, plan = split_with(table)
    for identity in plan.identity.unique():
        shown = [set(part.image_id) for _, part in split[(split.identity == identity) & (split.role == "train")].groupby("group")]
        shown.sort(key=len)
        assert all(few < more for few, more in zip(shown, shown[1:], strict=False)) and len(shown) == 4


def test_each_crowd_of_none_is_another_draw(table):
    split, _ = split_with(table, kind="none", num_rotations=12)
    baseline = [set(part.identity) for _, part in split[split.role == "train"].groupby("group")]
    assert len(baseline) == 12 and all(a != b for i, a in enumerate(baseline) for b in baseline[:i])
    assert list(split[split.role == "train"].group.unique())[:3] == ["r00", "r01", "r02"]


def test_neither_the_order_of_rows_nor_chance_matters(table):
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
    shown = split[(split.identity == target) & (split.role == "train")].image_id.iloc[0]
    changed = table.copy()
    changed.loc[changed.image_id == shown, "duplicate_of"] = query
    changed.loc[changed.image_id == "c5/0", "duplicate_of"] = "c6/0"
    again, _ = split_with(changed)
    assert shown not in set(again.image_id) or query not in set(again.image_id)
    assert not {"c5/0", "c6/0"} & set(again.image_id)


def test_too_few_people_or_photos_is_a_sentence(table):
    with pytest.raises(ValueError, match="7 identities with at least 23 photos, but 8 are asked for as subjects"):
        split_with(table, num_overrepresented=8)
    with pytest.raises(ValueError, match="the crowd of .* people holds .* photos at 1 a person"):
        split_with(table, num_photos=210, max_background_photos=1)
    with pytest.raises(ValueError, match="dose 0.001 of 200 photos is no photo"):
        split_with(table, data_shares=[0.0, 0.001], num_rotations=2)
    with pytest.raises(ValueError, match="leave no crowd"):
        plan_data_shares(kind="many", num_overrepresented=10, num_rotations=2, data_shares=[0.0, 0.2], num_photos=50)
    with pytest.raises(ValueError, match="stands in more than one row"):
        split_with(pd.concat([table, table.head(1)]))
