"""Which photos are members under which GAN, on scores whose AUC is known on paper."""

import numpy as np
import pandas as pd
import pytest
import torch

from ppe.evaluation import (
    KEYS,
    aggregate_queries,
    choose_embedder,
    collect_rows,
    compare_attack_rows,
    compute_headlines,
    describe_rows,
    evaluate_scores,
    hide_names,
    judge_control,
    restore_queries,
    score_photos,
    score_twins,
    select_queries,
)
from ppe.metrics import compute_auc

RUN = {
    "dataset": "d", "resolution": 32, "gan": "fastgan", "num_identities": 12, "train_photos": 2, "query_photos": 2,
    "kimg": 1, "seed": 1, "num_generated": 9,
}  # fmt: skip


@pytest.fixture
def photos():
    """Twelve people a group, two train and two query photos each."""
    rows = [
        (f"{group}{i}-{role}{k}", f"{group}{i}", group, role)
        for group in "ab" for i in range(12) for role in ("train", "query") for k in range(2)
    ]  # fmt: skip
    return pd.DataFrame(rows, columns=["image_id", "identity", "group", "role"])


@pytest.fixture
def members(photos):
    return photos[photos.role == "train"][["group", "image_id", "identity"]]


def make_scores(photos, leak):
    """A person's photos score ``leak`` higher under the GAN of their group, with noise that people carry."""
    rng = np.random.default_rng(0)
    parts = []
    for generator in ("a", "b", "c", "train-a", "train-b", "twin-a", "twin-b", "untrained-a", "untrained-b"):
        person = dict(zip(photos.identity.unique(), rng.normal(size=24), strict=True))
        own = photos.group == generator.removeprefix("train-").removeprefix("twin-")
        score = photos.identity.map(person) + own * (5 + leak if "-" in generator else leak)
        for e, k in (("net", "identity"), ("", "pixel")):
            parts.append(photos.assign(generator=generator, embedder=e, attack=k, reference="", score=score))
    return pd.concat(parts, ignore_index=True)


def test_memberships_pick_the_right_photos(photos, members):
    scores = make_scores(photos, 0)
    table = scores[scores.attack == "identity"]
    unseen = select_queries(table, members, "identity")
    assert len(unseen) == 2 * 48 and set(unseen[(unseen.half == "a") & unseen.is_member].identity.str[0]) == {"a"}
    image = select_queries(table, members, "image")
    assert len(image) == 2 * 48
    train = table[(table.generator == "a") & (table.role == "train") & (table.group == "a")]
    assert sorted(image[(image.half == "a") & image.is_member].score) == sorted(train.score)
    query = table[(table.generator == "a") & (table.role == "query") & (table.group == "b")]
    assert sorted(image[(image.half == "a") & ~image.is_member].score) == sorted(query.score)
    same = select_queries(table, members, "photo_given_person")
    assert set(same[same.half == "a"].identity.str[0]) == {"a"}, "only the GAN's own people"
    is_train = same.image_id.str.contains("train")
    assert (is_train == same.is_member).all() and is_train.any() and not is_train.all()
    with pytest.raises(ValueError, match="is not one of"):
        select_queries(table, members, "photo")


def test_the_disjoint_control_uses_gan_c_for_both_halves(photos, members):
    scores = make_scores(photos, 50.0)
    table = scores[scores.attack == "identity"]
    control = select_queries(table, members, "identity", "disjoint")
    expected = table[(table.generator == "c") & (table.role == "query")].score
    for half in "ab":
        assert sorted(control[control.half == half].score) == sorted(expected)
    a, b = (compute_auc(p.score.to_numpy(), p.is_member.to_numpy()) for _, p in control.groupby("half"))
    assert a + b == pytest.approx(1.0), "one generator scores both halves: they mirror each other"


def test_a_perfect_leak_and_no_leak(photos, members):
    for leak, low, high in ((50.0, 1.0, 1.0), (0.0, 0.2, 0.8)):
        rows = evaluate_scores(make_scores(photos, leak), members, num_resamples=100, num_permutations=100)
        pooled = rows[(rows.half == "pooled") & (rows.metric == "auc") & (rows.control == "none")]
        assert pooled[pooled.membership != "photo_given_person"].value.between(low, high).all()
        assert not ((rows.control == "disjoint") & (rows.half == "pooled")).any()
        assert set(pooled["aggregate"]) == {"", "mean", "largest", "majority"}
        assert set(pooled.membership) == {"identity", "image", "photo_given_person"}
        share = rows[rows.metric == "leak_share"].set_index("versus").value
        assert set(share.index) == {"copy_machine", "identity_twin"} and share.between(-0.6, 1.001).all()
        assert rows[rows.metric == "permuted_share"].value.iloc[0] < 0.12
        same = pooled[pooled.membership == "photo_given_person"]
        assert (same.value == 0.5).all(), "all photos of a person score alike"


def test_a_control_that_tells_the_halves_apart_fails(photos, members):
    scores = make_scores(photos, 1.0)
    fine = evaluate_scores(scores, members, num_resamples=50, num_permutations=400)
    assert not judge_control(fine, 0.01, "net")[0]
    scores.loc[(scores.generator == "c") & (scores.group == "a"), "score"] += 50
    rows = evaluate_scores(scores, members, num_resamples=50, num_permutations=400)
    failed, p_value = judge_control(rows, 0.01, "net")
    assert failed and p_value == pytest.approx(2 / 401), "two halves that mirror each other are asked twice"
    with pytest.raises(ValueError, match="has no p-value"):
        judge_control(rows[rows.control != "disjoint"], 0.01, "net")


def test_person_level_is_the_mean_or_the_largest(photos, members):
    scores = make_scores(photos, 0.0)
    scores["score"] += np.arange(len(scores)) * 1e-3
    queries = select_queries(scores[scores.attack == "identity"], members, "identity")
    for how in ("mean", "largest"):
        people = aggregate_queries(queries, how)
        expected = queries.groupby(["half", "identity"]).score.agg({"mean": "mean", "largest": "max"}[how])
        assert people.set_index(["half", "identity"]).score.to_dict() == pytest.approx(expected.to_dict())


def test_hidden_scores_hold_no_name_and_give_the_same_numbers(photos, members):
    named = photos.replace({"identity": {f"a{i}": f"Name_{i}" for i in range(12)}})
    named["image_id"] = named.identity + "-" + photos.image_id
    scores = make_scores(named, 1.0)
    known = named[named.role == "train"][["group", "image_id", "identity"]]
    hidden = hide_names(scores)
    assert "Name" not in hidden.to_csv() and set(hidden.attack) == {"identity"}
    for membership, control in (("identity", "none"), ("image", "none"), ("identity", "disjoint"), ("identity", "copy_machine")):
        one = select_queries(scores[scores.attack == "identity"], known, membership, control)
        two = restore_queries(hidden, membership, control)
        columns = ["half", "is_member", "score"]
        assert one[columns].sort_values(columns).to_numpy().tolist() == two[columns].sort_values(columns).to_numpy().tolist()


def test_every_attack_scores_every_set(photos):
    angles = np.linspace(0, 3, len(photos))
    query = {"query_embeddings": np.stack([np.cos(angles), np.sin(angles)], 1).astype(np.float32)}
    sets = {
        "a": {"generated_embeddings": np.array([[1, 0]], np.float32)},
        "b": {"generated_embeddings": np.array([[0, 1]], np.float32)},
    }
    scores = score_photos(photos, query, sets, ["identity"], "net")
    np.testing.assert_allclose(scores[scores.generator == "a"].score, np.cos(angles), atol=1e-6)
    np.testing.assert_allclose(scores[scores.generator == "b"].score, np.sin(angles), atol=1e-6)
    with_faces = {**sets, "c": {"generated_faces": np.zeros((1, 3, 2, 2), np.uint8)}}
    scores = score_photos(photos, query, with_faces, ["identity", "pixel"])
    assert set(scores.generator) == {"a", "b"}, "no attack is run on a set that lacks what it needs"


def test_twins_leave_out_the_photo_itself_and_hold_everybody_against_equally_many(photos):
    angles = torch.linspace(0, 3, len(photos), dtype=torch.float64)
    embeddings = torch.stack([angles.cos(), angles.sin()], 1).float()
    scores = score_twins(photos, embeddings, "net")
    a = scores[scores.generator == "twin-a"].reset_index(drop=True)
    rows = np.flatnonzero((photos.group == "a") & (photos.role == "query"))
    step = float(angles[1])
    for row in rows:  # the nearest other query of half a: the person's second one is the next row
        assert a.score[row] == pytest.approx(np.cos(step), abs=1e-5)
    others = np.setdiff1d(np.arange(len(photos)), rows)
    assert (a.score[others] <= 1).all() and np.isfinite(a.score).all()


def test_attacks_are_compared_with_identity_on_the_same_photos(photos, members):
    scores = make_scores(photos, 1.0)
    scores.loc[scores.attack == "pixel", "score"] *= -1
    row = compare_attack_rows(scores, members, num_resamples=100).iloc[0]
    assert row.versus == "pixel" and row.metric == "auc_difference"
    one, two = (select_queries(scores[scores.attack == k], members, "identity") for k in ("identity", "pixel"))
    auc = [np.mean([compute_auc(p.score.to_numpy(), p.is_member.to_numpy()) for _, p in t.groupby("half")]) for t in (one, two)]
    assert row.value == pytest.approx(auc[0] - auc[1])


def test_rows_of_runs_are_collected_with_the_difference_of_sizes(photos, members, tmp_path):
    files, hidden = {}, {}
    for run, leak, size in (("small", 3.0, 12), ("large", 0.5, 40)):
        scores = make_scores(photos, leak)
        rows = describe_rows(
            pd.concat([
                evaluate_scores(scores, members, num_resamples=50, num_permutations=50),
                pd.DataFrame([{**dict.fromkeys(KEYS, ""), "half": "a", "slice": "generated faces", "num_generated": 3}]),
            ]),
            run,
            RUN | {"num_identities": size},
            {"net": 0.95},
        )
        files[run] = tmp_path / f"{run}.csv"
        rows.to_csv(files[run], index=False)
        hidden[run] = hide_names(scores)
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


def test_a_weak_embedder_is_shown_but_gives_no_verdict():
    assert choose_embedder({"weak": 0.85, "sound": 0.93}) == ("sound", True)
    assert choose_embedder({"weak": 0.85, "weaker": 0.5}) == ("weak", False), "where none is sound, the first, and it is said"


def test_rows_of_the_effort_curve_keep_their_number_and_the_others_get_the_runs():
    rows = pd.DataFrame({"embedder": "net", "value": [0.5, 0.6], "num_generated": [np.nan, 100]})
    rows = rows.assign(**{c: "" for c in ("half", "metric", *KEYS[1:])}, low=0.0, high=1.0, num_members=9, num_non_members=9)
    assert list(describe_rows(rows, "r", RUN).num_generated) == [9, 100]
