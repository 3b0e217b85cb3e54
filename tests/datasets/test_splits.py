"""Splits: groups of equal size that share no identity or picture, nested sizes, and independence of row order."""

import numpy as np
import pandas as pd
import pytest
from scipy.stats import chisquare

from ppe.datasets.splits import choose_identities, split_identities

SIZES = {"num_identities": 4, "train_photos": 2, "query_photos": 2, "seed": 1}


def make_table(num_attacked=20, photos=5, num_auxiliary=3):
    rows = []
    for i in range(num_attacked + num_auxiliary):
        role = "attacked" if i < num_attacked else "auxiliary"
        rows += [(f"p{i}/{j}.jpg", f"p{i}", role, None) for j in range(photos)]
    rows += [(f"background/{j}.jpg", "background", "background", None) for j in range(9)]
    return pd.DataFrame(rows, columns=["image_id", "identity", "role", "duplicate_of"])


def as_sets(split):
    return set(map(tuple, split.itertuples(index=False)))


def test_groups_and_roles_have_the_requested_sizes():
    split = split_identities(make_table(), **SIZES)
    assert list(split.columns) == ["image_id", "identity", "group", "role"]
    assert split.groupby("group")["identity"].nunique().to_dict() == {"a": 4, "b": 4, "c": 4}
    assert (split.groupby(["identity", "role"]).size() == 2).all() and len(split) == 12 * 4
    assert split.attrs == {"num_replaced": 0, "num_two_names": 0}


def test_no_identity_is_in_two_groups_and_no_photo_is_used_twice():
    split = split_identities(make_table(), **SIZES)
    assert (split.groupby("identity")["group"].nunique() == 1).all()
    assert split["image_id"].is_unique
    assert (split["image_id"].str.split("/").str[0] == split["identity"]).all()


def test_auxiliary_and_background_identities_are_never_drawn():
    table = make_table(num_attacked=12, num_auxiliary=50)
    for seed in range(5):
        split = split_identities(table, **{**SIZES, "seed": seed})
        assert set(split["identity"]) == {f"p{i}" for i in range(12)}


def test_sizes_are_nested():
    table = make_table()
    largest = split_identities(table, **{**SIZES, "num_identities": 6})
    for num_identities in range(1, 6):
        split = split_identities(table, **{**SIZES, "num_identities": num_identities})
        pd.testing.assert_frame_equal(split, largest.head(len(split)))


def test_more_query_photos_keep_the_train_photos():
    few, many = (split_identities(make_table(), **{**SIZES, "query_photos": n}) for n in (1, 3))
    assert as_sets(few) < as_sets(many)


def test_a_larger_max_train_photos_adds_training_photos_and_keeps_the_query_photos():
    table = pd.concat([make_table(photos=5), pd.DataFrame(
        [(f"p{i}/more{j}.jpg", f"p{i}", "attacked", None) for i in range(0, 20, 2) for j in range(i)],
        columns=["image_id", "identity", "role", "duplicate_of"],
    )])  # fmt: skip
    capped, free, some = (split_identities(table, **SIZES, max_train_photos=most) for most in (None, 1000, 4))
    pd.testing.assert_frame_equal(capped, split_identities(table, **SIZES))
    pd.testing.assert_frame_equal(capped, split_identities(table, **SIZES, max_train_photos=2))
    assert as_sets(capped) < as_sets(some) < as_sets(free)
    assert as_sets(capped[capped.role == "query"]) == as_sets(free[free.role == "query"])
    used, photos = free[free.role == "train"].identity.value_counts(), table.identity.value_counts()
    assert (used == photos[used.index] - SIZES["query_photos"]).all() and used.nunique() > 3
    assert some[some.role == "train"].identity.value_counts().max() == 4
    with pytest.raises(ValueError, match="max_train_photos=1 is below train_photos=2"):
        split_identities(table, **SIZES, max_train_photos=1)


def test_a_duplicate_of_a_query_photo_is_not_added_to_the_training_photos():
    table = make_table(num_attacked=3, photos=6)
    sizes = {**SIZES, "num_identities": 1}
    query = split_identities(table, **sizes).query("identity == 'p1' and role == 'query'")["image_id"].iloc[0]
    free = split_identities(table, **sizes, max_train_photos=9)
    late = free.query("identity == 'p1' and role == 'train'")["image_id"].iloc[-1]
    table.loc[table["image_id"] == late, "duplicate_of"] = query
    again = split_identities(table, **sizes, max_train_photos=9)
    assert as_sets(again) == {row for row in as_sets(free) if row[0] != late}


def test_a_split_does_not_depend_on_the_order_of_rows():
    table = make_table()
    split = split_identities(table, **SIZES)
    for seed in range(3):
        shuffled = table.sample(frac=1, random_state=seed)
        pd.testing.assert_frame_equal(split_identities(shuffled, **SIZES), split)
        pd.testing.assert_frame_equal(split_identities(shuffled.set_index(shuffled.index % 7), **SIZES), split)


def test_other_identities_do_not_change_the_photos_of_an_identity():
    photos = {}
    for table in (make_table(), make_table().query("identity != 'p3'")):
        split = split_identities(table, **{**SIZES, "num_identities": 6})
        photos[len(table)] = {i: tuple(p["image_id"]) for i, p in split.groupby("identity")}
    first, second = photos.values()
    shared = first.keys() & second.keys()
    assert len(shared) >= 17 and all(first[i] == second[i] for i in shared)


def test_the_same_seed_gives_the_same_split_and_other_seeds_give_others():
    table = make_table()
    assert as_sets(split_identities(table, **SIZES)) == as_sets(split_identities(table, **SIZES))
    others = [as_sets(split_identities(table, **{**SIZES, "seed": seed})) for seed in range(2, 12)]
    assert all(other != as_sets(split_identities(table, **SIZES)) for other in others)


def test_every_identity_and_photo_is_equally_likely():
    table = make_table(num_attacked=9)
    splits = pd.concat(
        split_identities(table, num_identities=1, train_photos=1, query_photos=1, seed=seed) for seed in range(300)
    )
    train = splits[splits["role"] == "train"]
    identities = train[train["group"] == "a"]["identity"].value_counts()
    photos = train["image_id"].str[-5].value_counts()
    assert chisquare(identities.reindex([f"p{i}" for i in range(9)], fill_value=0)).pvalue > 1e-3
    assert chisquare(photos.reindex(list("01234"), fill_value=0)).pvalue > 1e-3


def test_a_query_photo_that_repeats_a_training_picture_is_replaced_and_counted():
    table = make_table(num_attacked=3)
    sizes = {**SIZES, "num_identities": 1}
    plain = split_identities(table, **sizes)
    train, query = (plain.query("identity == 'p1' and role == @role")["image_id"] for role in ("train", "query"))
    table.loc[table["image_id"] == query.iloc[0], "duplicate_of"] = train.iloc[1]
    split = split_identities(table, **sizes)
    of_p1 = split[split["identity"] == "p1"]
    spare = set(table[table["identity"] == "p1"]["image_id"]) - set(train) - set(query)
    assert set(of_p1[of_p1["role"] == "train"]["image_id"]) == set(train)
    assert set(of_p1[of_p1["role"] == "query"]["image_id"]) == {query.iloc[1], *spare}
    assert split.attrs["num_replaced"] == 1
    assert as_sets(split[split["identity"] != "p1"]) == as_sets(plain[plain["identity"] != "p1"])


@pytest.mark.parametrize("direction", ["to a hub in the table", "chain", "to a hub outside the table"])
def test_duplicates_form_sets_for_every_pattern_of_links(direction):
    table = make_table(num_attacked=4)
    three = table.index[table["identity"] == "p0"][:3]
    first, second, third = table.loc[three, "image_id"]
    links = {
        "to a hub in the table": [np.nan, first, first],
        "chain": [second, third, ""],
        "to a hub outside the table": ["unreadable.jpg", "unreadable.jpg", "unreadable.jpg"],
    }
    table.loc[three, "duplicate_of"] = links[direction]
    sizes = {"num_identities": 1, "train_photos": 2, "query_photos": 1, "seed": 0}
    used = set(split_identities(table.query("identity != 'p3'"), **sizes)["image_id"])
    assert len(used & {first, second, third}) == 1  # p0 has three pictures left, and all of them are needed
    with pytest.raises(ValueError, match="has 3 identities with at least 2 . 2 photos"):
        split_identities(table, **{**sizes, "num_identities": 2, "query_photos": 2})


def test_an_identity_with_too_few_different_pictures_is_not_drawn():
    table = make_table(num_attacked=4)
    few = table["identity"] == "p2"
    table.loc[few, "duplicate_of"] = table.loc[few, "image_id"].iloc[0]
    split = split_identities(table, **{**SIZES, "num_identities": 1})
    assert set(split["identity"]) == {"p0", "p1", "p3"}


def test_a_picture_under_two_names_is_left_out_and_counted():
    table = make_table(num_attacked=12)
    table.loc[table["image_id"] == "p0/0.jpg", "duplicate_of"] = "p1/0.jpg"
    table.loc[table["image_id"] == "p2/0.jpg", "duplicate_of"] = "p13/0.jpg"  # p13 is auxiliary
    split = split_identities(table, **SIZES)
    assert not set(split["image_id"]) & {"p0/0.jpg", "p1/0.jpg", "p2/0.jpg"}
    assert split.attrs["num_two_names"] == 3


def test_too_few_identities_are_an_error_that_says_what_to_lower():
    with pytest.raises(ValueError) as error:
        split_identities(make_table(num_attacked=158, photos=10), num_identities=79, train_photos=5, query_photos=5, seed=0)
    assert "has 158 identities with at least 5 + 5 photos, but 3 x 79 are asked for" in str(error.value)
    assert "lower num_identities, train_photos or query_photos" in str(error.value)


def test_wrong_tables_and_numbers_are_errors():
    table = make_table()
    with pytest.raises(ValueError, match="query_photos=0 is not at least 1"):
        split_identities(table, **{**SIZES, "query_photos": 0})
    with pytest.raises(ValueError, match="'p0/0.jpg' stands in more than one row"):
        split_identities(pd.concat([table, table.head(1)]), **SIZES)
    table.loc[0, "role"] = "auxiliary"
    with pytest.raises(ValueError, match="identity 'p0' has more than one role"):
        split_identities(table, **SIZES)


def test_two_halves_of_the_identities_are_disjoint_and_complete():
    names = ["eve", "al", "eve", "bo", "cy", "al"]
    first, second = (choose_identities(names, which) for which in ("first half", "second half"))
    assert (first ^ second).all() and choose_identities(names, "all").all()
    assert {n for n, is_in in zip(names, first, strict=True) if is_in} == {"al", "cy"}, "every other one of the sorted names"
    with pytest.raises(ValueError, match="identities='third' is not one of"):
        choose_identities(names, "third")
