"""The constants of the attacks, tuned on auxiliary identities: photos of some of them stand in for generated faces.

Neither an attacked identity nor a generator influences the choice.
"""

from functools import partial

import numpy as np
import pandas as pd

from ppe.attacks.normalisation import measure_cohort, normalise_cosines
from ppe.attacks.scores import score_density, score_nearest_top_k
from ppe.statistics.resampling import resample_identities

SMALLEST_RADIUS = 1e-6
"""Cosine distance that rounding may leave between equal embeddings, and below which a radius means nothing."""


def find_radius(embeddings, identity, false_match_rate):
    """Find the cosine distance within which a given share of the pairs of different identities lies: epsilon of ``monte_carlo``.

    Parameters
    ----------
    embeddings : Tensor [N, D], float32, unit L2 norm. Photos of auxiliary identities at the generator's resolution.
    identity : sequence of str, N.
    false_match_rate : float, in (0, 1).

    Returns
    -------
    epsilon : float, in (0, 2].

    Raises
    ------
    ValueError
        If all photos are of one identity.
    """
    number = pd.factorize(np.asarray(identity))[0]
    cosine = (embeddings @ embeddings.T).detach().cpu().numpy()[number[:, None] != number[None]]
    if not len(cosine):
        raise ValueError("all photos are of one identity, but the radius is a share of the pairs of different identities: make "
                         "more identities auxiliary (params.yaml: datasets, auxiliary)")
    return max(SMALLEST_RADIUS, 1 - float(np.quantile(cosine, 1 - false_match_rate)))


def tune_attack(
    embeddings, identity, cohort, *, concentrations, top_shares, cohort_sizes, num_identities, num_tuning_games, seed=0
):
    """Compute the AUC of the attack on auxiliary identities for each candidate constant.

    Each game draws two groups of identities, of the attack's size or as large as possible. The first half of an identity's photos
    stand in for the generated faces of its group. The other photos of both groups are the queries under each, as in the attack.
    How many nearest faces should count depends on how many faces an identity has, so k is a share of that number. Photos are
    clearer than generated faces, so the choice may lean towards few neighbours.

    Parameters
    ----------
    embeddings : Tensor [N, D], float32, unit L2 norm. Photos of auxiliary identities at the generator's resolution.
    identity : sequence of str, N. Identities with a single photo are left out.
    cohort : Tensor [C, D], float32, unit L2 norm. Photos of other auxiliary identities.
    concentrations : sequence of float. Candidates for ``density``.
    top_shares : sequence of float, in (0, 1]
        Candidates for k of ``nearest_top_k`` and of ``nearest_snorm``, as a share of the faces an identity has.
    cohort_sizes : sequence of int, at least 2. Candidates for K of ``nearest_snorm``.
    num_identities : int. Identities a group.
    num_tuning_games : int. Games with different groups.
    seed : int. The same seed gives the same games.

    Returns
    -------
    DataFrame, one row a candidate, smallest first
        constant (``concentration``, ``top_share`` or ``snorm_top_share``), value, cohort_size (0 but for ``snorm_top_share``), k
        (what a share amounts to here; 0 for a concentration), auc (mean over groups and games).

    Raises
    ------
    ValueError
        If fewer than two identities have two photos.
    """
    photos = pd.DataFrame({"identity": np.asarray(identity)})
    count = photos.groupby("identity")["identity"].transform("size")
    photos = photos.assign(is_generated=photos.groupby("identity").cumcount() < count // 2)[count > 1]
    identities = np.unique(photos.identity)
    if len(identities) < 2:
        raise ValueError(f"{len(identities)} auxiliary identities have two photos, but tuning needs at least 2: "
                         "raise num_auxiliary or widen auxiliary (params.yaml: datasets)")
    size = min(num_identities, len(identities) // 2)
    orders = [np.random.default_rng([seed, game]).permutation(identities) for game in range(num_tuning_games)]
    games = [_draw_game(photos, order[:size], order[size : 2 * size]) for order in orders]
    own = photos.is_generated.sum() / len(identities)
    top_k = [(value, max(1, round(value * own))) for value in sorted(top_shares)]
    ask = partial(_ask, embeddings)
    candidates = [("concentration", value, 0, 0, ask(score_density, concentration=value)) for value in sorted(concentrations)]
    candidates += [("top_share", value, 0, k, ask(score_nearest_top_k, top_k=k)) for value, k in top_k]
    for size in sorted(cohort_sizes):
        spread = measure_cohort(embeddings, cohort, size)
        normalised = normalise_cosines(embeddings @ embeddings.T, spread, spread)
        candidates += [("snorm_top_share", value, size, k, partial(_average_largest, normalised, k)) for value, k in top_k]
    rows = [(*names, np.mean([_play_game(game, ask) for game in games])) for *names, ask in candidates]
    return pd.DataFrame(rows, columns=["constant", "value", "cohort_size", "k", "auc"])


def choose_constants(tuned, num_faces):
    """Choose the value of each constant with the largest AUC; of equally good values the smaller one, of the smaller cohort.

    Parameters
    ----------
    tuned : DataFrame of ``tune_attack``.
    num_faces : float. Generated faces for each identity of a group: num_generated / num_identities.

    Returns
    -------
    dict: ``concentration`` (float), ``cohort_size`` (int), and ``top_k`` and ``snorm_top_k`` (int), shares of ``num_faces``.
    """
    best = tuned.assign(auc=tuned.auc.round(6)).sort_values(["auc", "value", "cohort_size"], ascending=[False, True, True])
    best = best.drop_duplicates("constant").set_index("constant")
    top_k, snorm_top_k = (max(1, round(best.value[name] * num_faces)) for name in ("top_share", "snorm_top_share"))
    cohort_size = int(best.cohort_size["snorm_top_share"])
    return {"concentration": float(best.value["concentration"]), "top_k": top_k, "snorm_top_k": snorm_top_k,
            "cohort_size": cohort_size}  # fmt: skip


def tune_constants(embeddings, identity, cohort, *, false_match_rate, num_generated, num_identities, **grid):
    """Tune every constant of the attacks that use one embedder, on auxiliary identities alone.

    Parameters
    ----------
    embeddings, identity, cohort : as in ``tune_attack``.
    false_match_rate : float, in (0, 1). As in ``find_radius``.
    num_generated, num_identities : int. Generated faces of one generator, and the identities in its training set.
    grid : ``concentrations``, ``top_shares``, ``cohort_sizes`` and ``num_tuning_games`` of ``tune_attack``.

    Returns
    -------
    tuned : DataFrame of ``tune_attack``.
    constants : dict, ``epsilon`` (float) and those of ``choose_constants``.
    """
    tuned = tune_attack(embeddings, identity, cohort, num_identities=num_identities, **grid)
    chosen = choose_constants(tuned, num_generated / num_identities)
    return tuned, {"epsilon": find_radius(embeddings, identity, false_match_rate), **chosen}


def _draw_game(photos, first, second):
    """The photos of a game's identities, with their group."""
    group = {**dict.fromkeys(first, "a"), **dict.fromkeys(second, "b")}
    return photos[photos.identity.isin(list(group))].assign(group=lambda table: table.identity.map(group))


def _play_game(photos, ask):
    """Compute the AUC of a game's queries, averaged over both groups; ``ask`` scores rows of queries against rows of faces."""
    queries = photos[~photos.is_generated]
    parts = []
    for group in "ab":
        generated = photos.index[photos.is_generated & (photos.group == group)]
        columns = {"identity": queries.identity, "is_member": queries.group == group, "score": ask(queries.index, generated)}
        parts.append(pd.DataFrame({"member_group": group, **columns}))
    return resample_identities(pd.concat(parts, ignore_index=True), num_resamples=0)[0]


def _ask(embeddings, score, **constants):
    """An attack as a function of rows of queries and rows of faces, both of ``embeddings``."""
    return lambda rows, faces: score(query_embeddings=embeddings[rows], generated_embeddings=embeddings[faces], **constants)


def _average_largest(similarity, k, rows, faces):
    """The mean of each row's ``k`` largest similarities to faces, of a matrix of all pairs."""
    part = similarity[rows][:, faces]
    return part.topk(min(k, part.shape[1]), dim=1).values.mean(1).cpu().numpy()
