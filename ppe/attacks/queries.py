"""From embeddings to queries: every photo scored by every attack against every set of faces, and which photos are members
under which GAN.

A run has three GANs, one a group of people. GAN a is attacked with photos of groups a (members) and b (non-members), GAN
b the other way round. GAN c saw nobody of either and is the judged control ("disjoint").
"""

import itertools

import numpy as np
import pandas as pd

from ppe.attacks.scores import ATTACKS, aggregate_scores, list_needed

HALVES = "ab"
MEMBERSHIPS = ("identity", "image", "photo_given_person")
CONTROLS = {
    "none": "{half}",
    "disjoint": "c",
    "untrained": "untrained-{half}",
    "copy_machine": "train-{half}",
    "identity_twin": "twin-{half}",
}
"""Control -> the set of faces that stands for "generated" when a half is scored; ``none`` is the attack itself."""


def score_photos(photos, query, sets, attacks, embedder="", reference=""):
    """Score every photo against every set of faces by every attack that has what it needs.

    Parameters
    ----------
    photos : DataFrame, N rows: image_id, identity, group, role (train or query).
    query : dict of arrays with N rows, and of constants, by the keywords of ``ppe.attacks.scores``.
    sets : dict, name of a set -> dict of arrays by keyword. An attack that needs an array which neither has is not defined
        on that set and is left out there.
    attacks : sequence of str, names from ``ppe.attacks.scores.ATTACKS``.
    embedder, reference : str, written into the table; empty for attacks that use none.

    Returns
    -------
    DataFrame: the columns of ``photos``, generator (name of the set), embedder, attack, reference, score (large = member).
    """
    parts = []
    for (name, arrays), attack in itertools.product(sets.items(), attacks):
        known = {**query, **arrays}
        if set(list_needed(attack)) <= set(known):
            score = np.asarray(ATTACKS[attack](**known), np.float64)
            parts.append(photos.assign(generator=name, embedder=embedder, attack=attack, reference=reference, score=score))
    return pd.concat(parts, ignore_index=True)


def score_with_constants(photos, query, generated, real, constants, embedder):
    """Score by every attack that looks through one embedder, but ``identity``: raw, against GAN c and against real faces.

    Parameters
    ----------
    photos : DataFrame, N rows, as in ``score_photos``.
    query : Tensor [N, D], float32, unit L2 norm.
    generated : dict, half a, b or c -> Tensor [M, D]: what each GAN drew. GAN c is no reference for itself.
    real : Tensor [R, D]. Real faces of auxiliary people.
    constants : dict, ``epsilon``, ``kappa``, ``top_k`` of ``ppe.attacks.tuning``.
    embedder : str

    Returns
    -------
    DataFrame as ``score_photos``; ``reference`` is empty, ``gan`` or ``real``.
    """
    calibrated = [attack for attack in ATTACKS if "reference_embeddings" in list_needed(attack)]
    raw = [attack for attack in ATTACKS if attack not in (*calibrated, "identity")]
    known = {**constants, "query_embeddings": query}
    sets = {group: {"generated_embeddings": generated[group]} for group in "abc"}
    halves = {half: sets[half] for half in HALVES}
    parts = [
        score_photos(photos, known, sets, raw, embedder),
        score_photos(photos, {**known, "reference_embeddings": generated["c"]}, halves, calibrated, embedder, "gan"),
        score_photos(photos, {**known, "reference_embeddings": real}, sets, calibrated, embedder, "real"),
    ]
    return pd.concat(parts, ignore_index=True)


def score_twins(photos, embeddings, embedder=""):
    """Score photos against the other unseen photos of a half's people: the ceiling of a leak of the identity alone.

    A member's own photo is left out of the set that it is held against; for everybody else one photo is left out in turn,
    so that all are held against equally many.

    Parameters
    ----------
    photos : DataFrame, N rows, as in ``score_photos``.
    embeddings : Tensor [N, D], float32, unit L2 norm.

    Returns
    -------
    DataFrame as ``score_photos``, of the attack ``identity`` on the sets ``twin-a`` and ``twin-b``; empty where people have
    a single query photo. (With 5 + 5 photos a person is held against 4 own photos here, and 5 by the copy machine.)
    """
    parts = []
    for half in HALVES:
        rows = np.flatnonzero((photos.group == half) & (photos.role == "query"))
        if photos.identity.iloc[rows].value_counts().min() < 2:
            return photos.iloc[:0].assign(generator="", embedder="", attack="", reference="", score=0.0)  # no other photo
        left_out = rows[np.arange(len(photos)) % len(rows)]
        left_out[rows] = rows
        held = (embeddings @ embeddings[rows].T).cpu().numpy().astype(np.float64)
        held[np.arange(len(photos)), np.searchsorted(rows, left_out)] = -np.inf
        named = photos.assign(generator=f"twin-{half}", embedder=embedder, attack="identity", reference="")
        parts.append(named.assign(score=held.max(1)))
    return pd.concat(parts, ignore_index=True)


def select_queries(scores, members, membership, control="none"):
    """Pick the photos that an attack is judged on, and say which of them are members.

    Parameters
    ----------
    scores : DataFrame of ``score_photos``, one attack and one embedder.
    members : DataFrame, written by the trainer: group, image_id, identity of every photo that a GAN was shown.
    membership : str
        ``identity``: unseen photos of members against unseen photos of non-members (the paper's);
        ``image``: train photos of members against unseen photos of non-members;
        ``photo_given_person``: train photos against unseen photos of the same people.
    control : str, key of ``CONTROLS``.

    Returns
    -------
    DataFrame: half, image_id, identity, is_member (bool), score, as ``ppe.statistics.resampling`` takes it.
    """
    if membership not in MEMBERSHIPS:
        raise ValueError(f"membership={membership!r} is not one of {list(MEMBERSHIPS)}")
    parts = []
    for half in HALVES:
        rows = scores[scores.generator == CONTROLS[control].format(half=half)]
        shown = members[members.group == half]
        is_member = rows.identity.isin(shown.identity)
        # What the trainer wrote decides: a photo that it lists is never a query, whatever the split says.
        is_train = rows.image_id.isin(members.image_id)
        if membership == "photo_given_person":
            kept, label = is_member, is_train
        else:
            kept, label = is_train == (is_member if membership == "image" else False), is_member
        parts.append(rows[kept].assign(half=half, is_member=label[kept]))
    return pd.concat(parts, ignore_index=True)[["half", "image_id", "identity", "is_member", "score"]]


def aggregate_queries(queries, how):
    """One score a person and half: ``mean``, ``largest`` or ``majority`` of its photos' scores."""
    parts = []
    for half, part in queries.groupby("half"):
        member = part.groupby("identity").is_member.first()
        people, score = aggregate_scores(part.score.to_numpy(), part.identity.to_numpy(), how)
        parts.append(pd.DataFrame({"half": half, "identity": people, "is_member": member[people].to_numpy(), "score": score}))
    return pd.concat(parts, ignore_index=True)


def hide_names(scores):
    """The scores of the attack ``identity`` on unseen photos with pseudonyms for names: group and a number, photos go.

    Scores against sets without a GAN (training photos, twins) can be computed by whoever has the photos and the net, and
    would tell who is who. So people are numbered anew for each set, by their mean score there: nothing links a person's row
    in one set to one in another, but for GANs a and b, which the bootstrap needs together; and scores have four digits.

    Returns a DataFrame: person, group, generator, embedder, attack, score.
    """
    scores = scores[(scores.attack == "identity") & (scores.role == "query")]
    linked = scores.generator.where(~scores.generator.isin(list(HALVES)), HALVES)
    parts = []
    for _, part in scores.groupby([linked, "embedder"]):
        rank = part.groupby("identity").score.mean().rank(method="first", ascending=False).astype(int)
        parts.append(part.assign(person=part.group + part.identity.map(rank).astype(str).str.zfill(3)))
    columns = ["person", "group", "generator", "embedder", "attack", "score"]
    table = pd.concat(parts)[columns].assign(score=lambda t: t.score.round(4))
    return table.sort_values(["embedder", "generator", "person", "score"], ignore_index=True)


def restore_queries(hidden, control="none"):
    """``select_queries`` of identity membership for a table of ``hide_names``: the group stands for what the trainer wrote."""
    parts = []
    for half in HALVES:
        rows = hidden[hidden.generator == CONTROLS[control].format(half=half)]
        parts.append(rows.assign(half=half, identity=rows.person, is_member=rows.group == half))
    return pd.concat(parts, ignore_index=True)[["half", "identity", "is_member", "score"]]
