"""From embeddings to queries: every photo scored by every attack against every set of faces, and which photos are members
under which GAN.

A run has three GANs, one a group of people. GAN a is attacked with photos of groups a (members) and b (non-members), GAN
b the other way round. GAN c saw nobody of either and is the judged control ("disjoint").
"""

import itertools

import numpy as np
import pandas as pd

from ppe.attacks.nearest import find_nearest
from ppe.attacks.scores import ATTACKS, aggregate_scores, list_needed

MEMBER_GROUPS = "ab"
MEMBERSHIPS = ("identity_membership", "image_membership", "photo_given_identity")
CONTROLS = {
    "none": "{member_group}",
    "negative_control": "c",
    "untrained": "untrained-{member_group}",
    "memorisation_ceiling": "train-{member_group}",
    "held_out_ceiling": "twin-{member_group}",
}
"""Control -> the set of faces that stands for "generated" when a half is scored; ``none`` is the attack itself."""


SCORE_COLUMNS = ["image_id", "identity", "group", "role", "face_set", "embedder", "attack", "calibration", "score"]
"""Columns of a table of scores; what else is known of a photo stands in the table of photos."""


def score_photos(photos, query, sets, attacks, embedder="", calibration=""):
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
            parts.append(photos.assign(face_set=name, embedder=embedder, attack=attack, calibration=calibration, score=score))
    return pd.concat(parts, ignore_index=True)


def score_with_constants(photos, query, generated, real, constants, embedder):
    """Score by every attack that looks through one embedder, but ``identity``: raw, against GAN c and against real faces.

    Parameters
    ----------
    photos : DataFrame, N rows, as in ``score_photos``.
    query : Tensor [N, D], float32, unit L2 norm.
    generated : dict, half a, b or c -> Tensor [M, D]: what each GAN drew. GAN c is no reference for itself.
    real : Tensor [R, D]. Real faces of auxiliary people.
    constants : dict, ``epsilon``, ``concentration``, ``top_k`` of ``ppe.attacks.tuning``.
    embedder : str

    Returns
    -------
    DataFrame as ``score_photos``; ``reference`` is empty, ``gan`` or ``real``.
    """
    calibrated = [attack for attack in ATTACKS if "reference_embeddings" in list_needed(attack)]
    raw = [attack for attack in ATTACKS if attack not in (*calibrated, "nearest")]
    known = {**constants, "query_embeddings": query}
    sets = {group: {"generated_embeddings": generated[group]} for group in "abc"}
    member_groups = {member_group: sets[member_group] for member_group in MEMBER_GROUPS}
    parts = [
        score_photos(photos, known, sets, raw, embedder),
        score_photos(photos, {**known, "reference_embeddings": generated["c"]}, member_groups, calibrated, embedder, "reference_generator"),
        score_photos(photos, {**known, "reference_embeddings": real}, sets, calibrated, embedder, "cohort"),
    ]
    return pd.concat(parts, ignore_index=True)


def score_held_out(photos, embeddings, embedder=""):
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
    for member_group in MEMBER_GROUPS:
        rows = np.flatnonzero((photos.group == member_group) & (photos.role == "query"))
        if photos.identity.iloc[rows].value_counts().min() < 2:
            return photos.iloc[:0].assign(face_set="", embedder="", attack="", calibration="", score=0.0)  # no other photo
        left_out = rows[np.arange(len(photos)) % len(rows)]
        left_out[rows] = rows
        held = (embeddings @ embeddings[rows].T).cpu().numpy().astype(np.float64)
        held[np.arange(len(photos)), np.searchsorted(rows, left_out)] = -np.inf
        named = photos.assign(face_set=f"twin-{member_group}", embedder=embedder, attack="nearest", calibration="")
        parts.append(named.assign(score=held.max(1)))
    return pd.concat(parts, ignore_index=True)


def find_surest_members(scores, photos, query, generated, group="a", count=10):
    """Find the members of a group whose unseen photos score highest, with what each is nearest to.

    Parameters
    ----------
    scores : DataFrame of ``score_photos``, the attack ``nearest`` by one embedder.
    photos : DataFrame, N rows, as in ``score_photos``.
    query, generated : Tensor [N, D], [M, D], float32, unit L2 norm. Photos, and faces of the group's generator.
    group : str, a or b; count : int, identities at most.

    Returns
    -------
    DataFrame, one row an identity, highest score first: ``score``, and row numbers ``photo`` (of ``photos``), ``generated`` (the
    nearest generated face) and ``training`` (of ``photos``: the identity's nearest training photo).
    """
    asked = scores[(scores.face_set == group) & (scores.group == group) & (scores.role == "query")]
    best = asked.sort_values("score", ascending=False).drop_duplicates("identity").head(count)
    photo = pd.Index(photos.image_id).get_indexer(best.image_id)
    _, nearest = find_nearest(query[photo], generated)
    own = np.flatnonzero((photos.group == group) & (photos.role == "train"))
    cosine = (query[photo] @ query[own].T).cpu().numpy()
    cosine[photos.identity.to_numpy()[photo][:, None] != photos.identity.to_numpy()[own][None]] = -np.inf
    rows = {"photo": photo, "generated": nearest.cpu().numpy(), "training": own[cosine.argmax(1)]}
    return pd.DataFrame({"score": best.score.to_numpy(), **rows})


def select_queries(scores, members, membership, control="none"):
    """Pick the photos that an attack is judged on, and say which of them are members.

    Parameters
    ----------
    scores : DataFrame of ``score_photos``, one attack and one embedder.
    members : DataFrame, written by the trainer: group, image_id, identity of every photo that a GAN was shown.
    membership : str
        ``identity``: unseen photos of members against unseen photos of non-members (the paper's);
        ``image``: train photos of members against unseen photos of non-members;
        ``photo_given_identity``: train photos against unseen photos of the same people.
    control : str, key of ``CONTROLS``.

    Returns
    -------
    DataFrame: half, image_id, identity, is_member (bool), score, as ``ppe.statistics.resampling`` takes it.
    """
    if membership not in MEMBERSHIPS:
        raise ValueError(f"membership={membership!r} is not one of {list(MEMBERSHIPS)}")
    parts = []
    for member_group in MEMBER_GROUPS:
        rows = scores[scores.face_set == CONTROLS[control].format(member_group=member_group)]
        shown = members[members.group == member_group]
        is_member = rows.identity.isin(shown.identity)
        # What the trainer wrote decides: a photo that it lists is never a query, whatever the split says.
        is_train = rows.image_id.isin(members.image_id)
        if membership == "photo_given_identity":
            kept, label = is_member, is_train
        else:
            kept, label = is_train == (is_member if membership == "image_membership" else False), is_member
        parts.append(rows[kept].assign(member_group=member_group, is_member=label[kept]))
    return pd.concat(parts, ignore_index=True)[["member_group", "image_id", "identity", "is_member", "score"]]


def aggregate_queries(queries, how):
    """One score a person and half: ``mean``, ``largest`` or ``majority`` of its photos' scores."""
    parts = []
    for member_group, part in queries.groupby("member_group"):
        member = part.groupby("identity").is_member.first()
        people, score = aggregate_scores(part.score.to_numpy(), part.identity.to_numpy(), how)
        parts.append(pd.DataFrame({"member_group": member_group, "identity": people, "is_member": member[people].to_numpy(), "score": score}))
    return pd.concat(parts, ignore_index=True)


def pseudonymise_scores(scores):
    """The scores of the attack ``identity`` on unseen photos with pseudonyms for names: group and a number, photos go.

    Scores against sets without a GAN (training photos, twins) can be computed by whoever has the photos and the net, and
    would tell who is who. So people are numbered anew for each set, by their mean score there: nothing links a person's row
    in one set to one in another, but for GANs a and b, which the bootstrap needs together; and scores have four digits.

    Returns a DataFrame: person, group, generator, embedder, attack, score.
    """
    scores = scores[(scores.attack == "nearest") & (scores.role == "query")]
    linked = scores.face_set.where(~scores.face_set.isin(list(MEMBER_GROUPS)), MEMBER_GROUPS)
    parts = []
    for _, part in scores.groupby([linked, "embedder"]):
        rank = part.groupby("identity").score.mean().rank(method="first", ascending=False).astype(int)
        parts.append(part.assign(pseudonym=part.group + part.identity.map(rank).astype(str).str.zfill(3)))
    columns = ["pseudonym", "group", "face_set", "embedder", "attack", "score"]
    table = pd.concat(parts)[columns].assign(score=lambda t: t.score.round(4))
    return table.sort_values(["embedder", "face_set", "pseudonym", "score"], ignore_index=True)


def restore_queries(hidden, control="none"):
    """``select_queries`` of identity membership for a table of ``pseudonymise_scores``: the group stands for what the trainer wrote."""
    parts = []
    for member_group in MEMBER_GROUPS:
        rows = hidden[hidden.face_set == CONTROLS[control].format(member_group=member_group)]
        parts.append(rows.assign(member_group=member_group, identity=rows.pseudonym, is_member=rows.group == member_group))
    return pd.concat(parts, ignore_index=True)[["member_group", "identity", "is_member", "score"]]
