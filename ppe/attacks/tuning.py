"""The attack's constants, set on auxiliary people before anybody is attacked: the attack is played among them, with photos
of some of them in the place of generated faces. No attacked person and no GAN has a say.
"""

from functools import partial

import numpy as np
import pandas as pd

from ppe.attacks.scores import score_density, score_nearest_top_k
from ppe.statistics.resampling import resample_identities


def find_radius(embeddings, identity, false_match_rate):
    """Find the cosine distance within which a given share of the pairs of strangers lies: epsilon of ``monte_carlo``.

    Parameters
    ----------
    embeddings : Tensor [N, D], float32, unit L2 norm. Photos of auxiliary people at the GAN's resolution.
    identity : sequence of str, N.
    false_match_rate : float, in (0, 1).

    Returns
    -------
    epsilon : float, in [0, 2].
    """
    person = pd.factorize(np.asarray(identity))[0]
    cosine = (embeddings @ embeddings.T).cpu().numpy()[person[:, None] != person[None]]
    if not len(cosine):
        raise ValueError("all photos are of one person, but the radius is a share of the pairs of strangers: make more people "
                         "auxiliary (params.yaml: datasets, auxiliary)")
    return 1 - float(np.quantile(cosine, 1 - false_match_rate))


def tune_attack(embeddings, identity, *, concentrations, top_shares, num_identities, num_tuning_games, seed=0):
    """Play the attack among auxiliary people, and see how well it does with each constant.

    In each game as many people a half as in the attack are drawn, or as many as there are. The first half of a person's
    photos stand in for generated faces of their half; the other photos of both halves are asked about under both, as in the
    attack itself. How many nearest faces are worth a look depends on how many faces a person has: k is a share of that.
    (Photos are clearer than generated faces, so the choice may lean to near neighbours alone.)

    Parameters
    ----------
    embeddings : Tensor [N, D], float32, unit L2 norm. Photos of auxiliary people at the GAN's resolution.
    identity : sequence of str, N. People with a single photo are left out.
    kappas : sequence of float. Concentrations of ``density``.
    top_shares : sequence of float in (0, 1]. k of ``nearest_top_k`` over the faces that a person has.
    num_identities : int. People a half.
    num_tuning_games, seed : int. Games, each with other people in the halves; the same seed, the same games.

    Returns
    -------
    DataFrame: constant (``concentration`` or ``top_share``), value, k (0 for kappa: what a share came to in the rehearsal), auc (mean
    over halves and games), a row a candidate, smallest first.

    Raises
    ------
    ValueError
        If fewer than two people have two photos.
    """
    photos = pd.DataFrame({"identity": np.asarray(identity)})
    count = photos.groupby("identity")["identity"].transform("size")
    photos = photos.assign(is_shown=photos.groupby("identity").cumcount() < count // 2)[count > 1]
    people = np.unique(photos.identity)
    if len(people) < 2:
        raise ValueError(f"{len(people)} auxiliary people have two photos, but a rehearsal needs at least 2: "
                         "raise num_auxiliary or widen auxiliary (params.yaml: datasets)")
    size = min(num_identities, len(people) // 2)
    orders = [np.random.default_rng([seed, game]).permutation(people) for game in range(num_tuning_games)]
    games = [_deal(photos, order[:size], order[size : 2 * size]) for order in orders]
    own = photos.is_shown.sum() / len(people)
    rows = []
    for value in sorted(concentrations):
        auc = np.mean([_play(game, embeddings, partial(score_density, concentration=value)) for game in games])
        rows.append({"constant": "concentration", "value": value, "k": 0, "auc": auc})
    for value in sorted(top_shares):
        k = max(1, round(value * own))
        auc = np.mean([_play(game, embeddings, partial(score_nearest_top_k, top_k=k)) for game in games])
        rows.append({"constant": "top_share", "value": value, "k": k, "auc": auc})
    return pd.DataFrame(rows)


def choose_constants(tuned, num_faces):
    """The value of each constant with the largest AUC; the smaller where two do equally well.

    num_faces : float. Generated faces a person of a half: num_generated / num_identities.
    Returns dict: ``concentration`` (float) and ``top_k`` (int), the chosen share of ``num_faces``.
    """
    best = tuned.assign(auc=tuned.auc.round(6)).sort_values(["auc", "value"], ascending=[False, True])
    best = best.drop_duplicates("constant").set_index("constant").value
    return {"concentration": float(best["concentration"]), "top_k": max(1, round(best["top_share"] * num_faces))}


def _deal(photos, first, second):
    """The photos of a game's people, with their half."""
    member_group = {**dict.fromkeys(first, "a"), **dict.fromkeys(second, "b")}
    return photos[photos.identity.isin(list(member_group))].assign(member_group=lambda table: table.identity.map(member_group))


def _play(photos, embeddings, score):
    """AUC of the asked photos under both halves."""
    asked = photos[~photos.is_shown]
    parts = []
    for member_group in "ab":
        shown = photos.index[photos.is_shown & (photos.member_group == member_group)]
        found = score(query_embeddings=embeddings[asked.index], generated_embeddings=embeddings[shown])
        parts.append(pd.DataFrame({"member_group": member_group, "identity": asked.identity, "is_member": asked.member_group == member_group, "score": found}))
    return resample_identities(pd.concat(parts, ignore_index=True), num_resamples=0)[0]


def tune_constants(embeddings, identity, *, false_match_rate, num_generated, num_identities, **grid):
    """Choose every constant of the attacks that look through one embedder, on auxiliary identities alone.

    Parameters
    ----------
    embeddings, identity : as in ``tune_attack``.
    false_match_rate : float, in (0, 1). As in ``find_radius``.
    num_generated, num_identities : int. Generated faces of one generator, and the identities in its training set.
    grid : ``concentrations``, ``top_shares`` and ``num_tuning_games`` of ``tune_attack``.

    Returns
    -------
    tuned : DataFrame of ``tune_attack``.
    constants : dict, ``epsilon``, ``concentration`` (float) and ``top_k`` (int).
    """
    tuned = tune_attack(embeddings, identity, num_identities=num_identities, **grid)
    chosen = choose_constants(tuned, num_generated / num_identities)
    return tuned, {"epsilon": find_radius(embeddings, identity, false_match_rate), **chosen}
