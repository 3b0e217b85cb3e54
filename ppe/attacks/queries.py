"""From embeddings to scores: of every photo, by every attack, against every set of faces. ``ppe.attacks.selection`` goes on."""

import itertools

import numpy as np
import pandas as pd

from ppe.attacks.keywords import check_attacks, list_needed
from ppe.attacks.nearest import find_nearest
from ppe.attacks.scores import ATTACKS
from ppe.attacks.selection import GROUPS, MEMBER_GROUPS, SCORE_COLUMNS, pseudonymise_scores, select_queries

__all__ = [
    "SCORE_COLUMNS",
    "find_surest_members",
    "pseudonymise_scores",
    "score_held_out",
    "score_photos",
    "score_with_constants",
    "select_queries",
]


def score_photos(photos, query, sets, attacks, embedder="", calibration=""):
    """Score every photo against every set of faces by every attack that has its inputs.

    Parameters
    ----------
    photos : DataFrame, N rows: image_id, identity, group, role (train or query).
    query : dict
        Arrays with N rows, and constants, by the keywords of ``ppe.attacks.scores``.
    sets : dict
        Name of a set -> dict of arrays by keyword. An attack is left out on a set if one of its inputs is in neither dict.
    attacks : sequence of str, names of ``ppe.attacks.scores.ATTACKS``.
    embedder, calibration : str. Written into the table; empty for attacks without one.

    Returns
    -------
    DataFrame: the columns of ``photos``, face_set (name of the set), embedder, attack, calibration, score (large = member).

    Raises
    ------
    ValueError
        If an attack does not return one finite score a photo.
    """
    parts = []
    for (name, arrays), attack in itertools.product(sets.items(), attacks):
        known = {**query, **arrays}
        if set(list_needed(attack)) <= set(known):
            score = np.asarray(ATTACKS[attack](**known), np.float64)
            if score.shape != (len(photos),):
                wanted = f"({len(photos)},) is needed, one score a photo"
                raise ValueError(f"the attack {attack!r} returned the shape {score.shape}: {wanted}")
            if not np.isfinite(score).all():
                raise ValueError(f"{(~np.isfinite(score)).sum()} of {len(score)} scores of the attack {attack!r} are not finite")
            parts.append(photos.assign(face_set=name, embedder=embedder, attack=attack, calibration=calibration, score=score))
    if not parts:
        return photos.iloc[:0].assign(face_set="", embedder="", attack="", calibration="", score=0.0)
    return pd.concat(parts, ignore_index=True)


def score_with_constants(photos, query, generated, cohort, constants, embedder, mirrored):
    """Score by every attack that uses one embedder, except ``nearest``: uncalibrated, and with both calibrations.

    Parameters
    ----------
    photos : DataFrame, N rows, as in ``score_photos``.
    query : Tensor [N, D], float32, unit L2 norm.
    generated : dict, group a, b or c -> Tensor [M, D], float32, unit L2 norm: faces of its generator.
    cohort : Tensor [R, D], float32, unit L2 norm. Photos of auxiliary identities.
    constants : dict of ``ppe.attacks.tuning.tune_constants``.
    embedder : str
    mirrored : Tensor [N, D], float32, unit L2 norm. The photos' mirror images.

    Returns
    -------
    DataFrame as ``score_photos``
        ``calibration`` is empty, ``reference_generator`` or ``cohort``. The reference generator is not calibrated by itself.

    Raises
    ------
    ValueError
        As ``ppe.attacks.keywords.check_attacks``.
    """
    calibrated = [attack for attack in ATTACKS if "calibration_embeddings" in list_needed(attack)]
    others = [attack for attack in ATTACKS if attack not in (*calibrated, "nearest")]
    known = {**constants, "query_embeddings": query, "query_mirrored": mirrored, "cohort_embeddings": cohort}
    by_reference, by_cohort = ({**known, "calibration_embeddings": vectors} for vectors in (generated["c"], cohort))
    check_attacks()
    sets = {group: {"generated_embeddings": generated[group]} for group in GROUPS}
    attacked = {group: sets[group] for group in MEMBER_GROUPS}
    parts = [
        score_photos(photos, known, sets, others, embedder),
        score_photos(photos, by_reference, attacked, calibrated, embedder, "reference_generator"),
        score_photos(photos, by_cohort, sets, calibrated, embedder, "cohort"),
    ]
    return pd.concat(parts, ignore_index=True)


def score_held_out(photos, embeddings, embedder=""):
    """Score photos against the query photos of a group's identities: the ceiling of a leak of the identity alone.

    A query photo of the group is compared with all of these photos except itself. For every other photo one of them is left out
    in turn, so that all photos are compared with equally many.

    Parameters
    ----------
    photos : DataFrame, N rows, as in ``score_photos``.
    embeddings : Tensor [N, D], float32, unit L2 norm.

    Returns
    -------
    DataFrame as ``score_photos``
        The attack ``nearest`` on the sets ``twin-a`` and ``twin-b``; empty where an identity has a single query photo. With five
        training and five query photos, a member is compared with four photos of their own here, and with five in the
        memorisation ceiling.
    """
    parts = []
    for group in MEMBER_GROUPS:
        rows = np.flatnonzero((photos.group == group) & (photos.role == "query"))
        if photos.identity.iloc[rows].value_counts().min() < 2:
            return photos.iloc[:0].assign(face_set="", embedder="", attack="", calibration="", score=0.0)
        left_out = rows[np.arange(len(photos)) % len(rows)]
        left_out[rows] = rows
        cosine = (embeddings @ embeddings[rows].T).detach().cpu().numpy().astype(np.float64)
        cosine[np.arange(len(photos)), np.searchsorted(rows, left_out)] = -np.inf
        named = photos.assign(face_set=f"twin-{group}", embedder=embedder, attack="nearest", calibration="")
        parts.append(named.assign(score=cosine.max(1)))
    return pd.concat(parts, ignore_index=True)


def find_surest_members(scores, photos, query, generated, group="a", count=10):
    """Find the members of a group whose query photos have the highest scores, and the faces nearest to those photos.

    Parameters
    ----------
    scores : DataFrame of ``score_photos``, the attack ``nearest`` by one embedder.
    photos : DataFrame, N rows, as in ``score_photos``.
    query, generated : Tensor [N, D], [M, D], float32, unit L2 norm. Photos, and faces of the group's generator.
    group : str, a or b.
    count : int. Most identities.

    Returns
    -------
    DataFrame, one row an identity, highest score first
        ``score``, and the row numbers ``photo`` (of ``photos``), ``generated`` (the nearest generated face) and ``training`` (of
        ``photos``: the identity's nearest training photo).
    """
    unseen = scores[(scores.face_set == group) & (scores.group == group) & (scores.role == "query")]
    best = unseen.sort_values("score", ascending=False).drop_duplicates("identity").head(count)
    photo = pd.Index(photos.image_id).get_indexer(best.image_id)
    _, nearest = find_nearest(query[photo], generated)
    training = np.flatnonzero((photos.group == group) & (photos.role == "train"))
    cosine = (query[photo] @ query[training].T).detach().cpu().numpy()
    identity = photos.identity.to_numpy()
    cosine[identity[photo][:, None] != identity[training][None]] = -np.inf
    rows = {"photo": photo, "generated": nearest.cpu().numpy(), "training": training[cosine.argmax(1)]}
    return pd.DataFrame({"score": best.score.to_numpy(), **rows})
