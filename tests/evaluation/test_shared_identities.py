"""Which runs share identities: the numbers that are committed, and that no name is among them."""

import numpy as np
import pandas as pd
import pytest
from synthetic_queries import draw_queries

from ppe.evaluation.shared_identities import COLUMNS, MIN_SHARED, find_correlations, name_queries, relate_runs
from ppe.statistics.pooling import correlate_runs

RUNS = pd.DataFrame(
    {"dataset": "d", "generator": "fastgan", "resolution": 32, "seed": [1, 2, 3]}, index=["one", "two", "three"]
)  # fmt: skip
DIGESTS = {"one": "1a", "two": "2b", "three": "3c"}
FAR = {f"{g}{i:02}": f"{g}{i:02} elsewhere" for g in "ab" for i in range(12)}


def draw_named(seed, num_shared=24):
    """Queries with names, of which the first ``num_shared`` are those of every other seed."""
    queries = draw_queries(12, effect=1, seed=seed).assign(embedder="net")
    strangers = {name: f"{name} of {seed}" for name in sorted(queries.identity.unique())[num_shared:]}
    return queries.replace({"identity": strangers})


def test_a_pair_is_related_by_its_shared_identities():
    named = {"one": draw_named(1), "two": draw_named(2), "three": draw_named(3).replace({"identity": FAR})}
    table = relate_runs(RUNS, named, DIGESTS).set_index(["run", "versus"])
    assert table.num_shared.to_dict() == {("one", "two"): 24, ("one", "three"): 0, ("two", "three"): 0}
    exact = correlate_runs(named["one"], named["two"])[1]
    assert table.correlation["one", "two"] == round(exact, 1) and table.correlation["one", "three"] == 0
    assert table.bound["one", "two"] == 1 and table.scores["one", "two"] == "1a 2b"
    other = RUNS.assign(generator=["fastgan", "fastgan", "stylegan2"])
    assert relate_runs(other, named, DIGESTS)[["run", "versus"]].to_numpy().tolist() == [["one", "two"]]


def test_of_few_shared_identities_no_correlation_is_told():
    few, enough = (relate_runs(RUNS.iloc[:2], {"one": draw_named(1, n), "two": draw_named(2, n)}, DIGESTS).iloc[0]
                   for n in (MIN_SHARED - 1, MIN_SHARED))  # fmt: skip
    assert np.isnan(few.correlation) and few.num_shared == MIN_SHARED - 1 and few.bound == round(4 / 24, 2)
    assert np.isfinite(enough.correlation)
    table = pd.DataFrame([few])
    assert find_correlations(table, ["one", "two"], "net", [0.5, 0.5])[0, 1] == few.bound, "of one sign: the bound"
    assert find_correlations(table, ["two", "one"], "net", [1, -1])[0, 1] == 0, "of two signs: none"


@pytest.mark.parametrize(("num_shared", "weights", "wanted"), [(8, [1, 1], 0.35), (8, [1, -1], 0.25), (0, [1, 1], 0.3)])
def test_a_rounded_correlation_is_taken_at_its_cautious_end(num_shared, weights, wanted):
    """A sum varies most, and a difference too, at the end that makes the pair's covariance count against us."""
    pair = {"run": "one", "versus": "two", "embedder": "net", "num_shared": num_shared, "bound": 0.5, "correlation": 0.3}
    assert find_correlations(pd.DataFrame([pair]), ["one", "two"], "net", weights)[0, 1] == pytest.approx(wanted)


def test_what_is_committed_holds_no_name_and_no_pseudonym():
    named = {run: draw_named(seed) for run, seed in zip(RUNS.index, RUNS.seed, strict=True)}
    table = relate_runs(RUNS, named, DIGESTS)
    text = table.drop(columns=["run", "versus", "embedder", "scores"]).to_csv(index=False)
    assert list(table) == COLUMNS and not any(name in text for name in FAR)
    tenths = 10 * table.correlation
    assert np.allclose(tenths, tenths.round(), atol=1e-9), "coarse, so that many links fit it"


def test_pairs_that_cannot_be_computed_here_are_kept_while_their_scores_are_the_same():
    named = {run: draw_named(seed) for run, seed in zip(RUNS.index, RUNS.seed, strict=True)}
    kept = relate_runs(RUNS, named, DIGESTS)
    elsewhere = relate_runs(RUNS, {}, DIGESTS, kept)
    pd.testing.assert_frame_equal(elsewhere, kept)
    changed = relate_runs(RUNS, {"one": named["one"]}, DIGESTS | {"one": "new"}, kept)
    assert changed[["run", "versus"]].to_numpy().tolist() == [["two", "three"]], "one run was made anew, on another machine"
    assert relate_runs(RUNS, {}, DIGESTS).empty and list(relate_runs(RUNS, {}, DIGESTS)) == COLUMNS
    pd.testing.assert_frame_equal(relate_runs(RUNS, named, DIGESTS, kept.assign(correlation=0.9)), kept)


def test_unknown_pairs_are_unknown():
    for nothing in (None, pd.DataFrame(columns=COLUMNS)):
        found = find_correlations(nothing, ["one", "two"], "net", [1, 1])
        assert (np.diag(found) == 1).all() and np.isnan(found[0, 1]) and np.isnan(found[1, 0])
    assert find_correlations(None, ["one"], "net", [1]).tolist() == [[1]]


def test_names_are_those_of_the_scores(tmp_path):
    from synthetic_scores import make_photos, make_scores

    photos = make_photos()
    members = photos[photos.role == "train"][["group", "image_id", "identity"]]
    queries = name_queries(make_scores(photos, 1.0), members)
    assert set(queries.identity) == set(photos.identity) and set(queries.member_group) == {"a", "b"}
    assert correlate_runs(queries, queries)[1] == pytest.approx(1)


@pytest.mark.parametrize(("num_identities", "num_people", "least"), [(10, 158, 0.4), (10, 126, 0.4)])
def test_a_published_link_would_give_names_away(num_identities, num_people, least):
    """Why the links themselves are not committed: a pair of groups in two seeds, is often one person's."""
    rng, alone, shared = np.random.default_rng(0), 0, 0
    for _ in range(100):
        groups = np.full((2, num_people), -1)
        for own in groups:
            own[rng.permutation(num_people)[: 3 * num_identities]] = np.arange(3 * num_identities) % 3
        pairs = groups[:, ((groups == 0) | (groups == 1)).all(0)].T
        _, counts = np.unique(pairs, axis=0, return_counts=True)
        alone, shared = alone + (counts == 1).sum(), shared + len(pairs)
    assert alone / shared > least
