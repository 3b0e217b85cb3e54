"""From scores to queries: which photos an attack is judged on, and which of them are members for which generator.

A run has three generators, one a group of identities. Generator A is attacked with photos of group A (members) and group B
(non-members), and generator B the other way round. The reference generator was trained on group C and is the negative control.
Nothing here needs torch, so whoever reads scores starts without it.
"""

import numpy as np
import pandas as pd

GROUPS = "abc"
"""The groups of a run; c is that of the reference generator."""
MEMBER_GROUPS = "ab"
"""The groups that are attacked."""
MEMBERSHIPS = ("identity_membership", "image_membership", "photo_given_identity")
CONTROLS = {
    "none": "{member_group}",
    "negative_control": "c",
    "untrained": "untrained-{member_group}",
    "memorisation_ceiling": "train-{member_group}",
    "held_out_ceiling": "twin-{member_group}",
}
"""Control -> the set of faces in place of the member group's generated faces; ``none`` is the attack itself."""
SCORE_COLUMNS = ["image_id", "identity", "group", "role", "face_set", "embedder", "attack", "calibration", "score"]
"""Columns of a table of scores; the attributes of a photo are in the table of photos."""


def select_queries(scores, members, membership, control="none"):
    """Select the photos on which an attack is evaluated, and mark the members among them.

    Parameters
    ----------
    scores : DataFrame of ``score_photos``, one attack and one embedder.
    members : DataFrame, written by the trainer: group, image_id, identity of every training photo.
    membership : str
        ``identity_membership``: query photos of members against query photos of non-members, the paper's question;
        ``image_membership``: training photos of members against query photos of non-members;
        ``photo_given_identity``: training photos against query photos of the same identities.
    control : str, key of ``CONTROLS``.

    Returns
    -------
    DataFrame: member_group, image_id, identity, is_member (bool), score, as in ``ppe.statistics.resampling``.

    Raises
    ------
    ValueError
        If ``membership`` is unknown.
    """
    if membership not in MEMBERSHIPS:
        raise ValueError(f"membership={membership!r} is not one of {list(MEMBERSHIPS)}")
    parts = []
    for member_group in MEMBER_GROUPS:
        rows = scores[scores.face_set == CONTROLS[control].format(member_group=member_group)]
        is_member = rows.identity.isin(members[members.group == member_group].identity)
        # The trainer's list decides: a photo in it is never a query photo, whatever the split says.
        is_train = rows.image_id.isin(members.image_id)
        if membership == "photo_given_identity":
            kept, label = is_member, is_train
        else:
            kept, label = is_train == (is_member if membership == "image_membership" else False), is_member
        parts.append(rows[kept].assign(member_group=member_group, is_member=label[kept]))
    return pd.concat(parts, ignore_index=True)[["member_group", "image_id", "identity", "is_member", "score"]]


def aggregate_scores(scores, identity, how="mean"):
    """Reduce the scores of photos to one score an identity.

    Parameters
    ----------
    scores : ndarray [N], float. One a photo; large = member.
    identity : ndarray [N]. The identity of each photo.
    how : str. ``"mean"`` or ``"largest"`` score of an identity's photos.

    Returns
    -------
    identities : ndarray [P], sorted.
    scores : ndarray [P], of the dtype of ``scores``. Large = member.

    Raises
    ------
    ValueError
        If ``how`` is unknown, the lengths differ or a score is not finite.
    """
    reductions = {"mean": "mean", "largest": "max"}
    if how not in reductions:
        raise ValueError(f"how={how!r} is not one of {list(reductions)}")
    scores, identity = np.asarray(scores), np.asarray(identity)
    if scores.ndim != 1 or scores.shape != identity.shape:
        raise ValueError(f"scores {list(scores.shape)} and identity {list(identity.shape)} must be lists of one length")
    if not np.isfinite(scores).all():
        raise ValueError(f"{(~np.isfinite(scores)).sum()} of {len(scores)} scores are not finite numbers")
    reduced = pd.Series(scores.astype(np.float64)).groupby(identity, sort=True).agg(reductions[how])
    return reduced.index.to_numpy(), reduced.to_numpy().astype(scores.dtype)


def aggregate_queries(queries, how):
    """Reduce queries to one row an identity and member group: the ``mean`` or ``largest`` score of its photos."""
    parts = []
    for member_group, part in queries.groupby("member_group"):
        is_member = part.groupby("identity").is_member.first()
        identities, score = aggregate_scores(part.score.to_numpy(), part.identity.to_numpy(), how)
        columns = {"identity": identities, "is_member": is_member[identities].to_numpy(), "score": score}
        parts.append(pd.DataFrame({"member_group": member_group, **columns}))
    return pd.concat(parts, ignore_index=True)


def pseudonymise_scores(scores):
    """Replace names by pseudonyms, a group and a number, in the scores of ``nearest`` on query photos; image ids are left out.

    Anybody who has the photos and the embedder can compute the scores against sets without a generator (training photos,
    held-out photos), and could so find the name behind a pseudonym. Identities are therefore numbered anew for each set, by their
    mean score in it. Only the sets of generators A and B share numbers, since the bootstrap resamples them together. Scores have
    four decimals, and more where they are near to 1, so that an embedder that puts all photos there keeps their order.

    Returns
    -------
    DataFrame: pseudonym, group, face_set, embedder, attack, score.
    """
    scores = scores[(scores.attack == "nearest") & (scores.role == "query")]
    linked = scores.face_set.where(~scores.face_set.isin(list(MEMBER_GROUPS)), MEMBER_GROUPS)
    parts = []
    for _, part in scores.groupby([linked, "embedder"]):
        rank = part.groupby("identity").score.mean().rank(method="first", ascending=False).astype(int)
        parts.append(part.assign(pseudonym=part.group + part.identity.map(rank).astype(str).str.zfill(3)))
    columns = ["pseudonym", "group", "face_set", "embedder", "attack", "score"]
    digits = 10.0 ** (4 + np.clip(np.floor(-np.log10(np.maximum(1 - scores.score, 1e-9))), 0, 2))
    table = pd.concat(parts)[columns].assign(score=(scores.score * digits).round() / digits)
    return table.sort_values(["embedder", "face_set", "pseudonym", "score"], ignore_index=True)


def restore_queries(hidden, control="none"):
    """``select_queries`` of identity membership for a table of ``pseudonymise_scores``, whose ``group`` marks the members."""
    parts = []
    for member_group in MEMBER_GROUPS:
        rows = hidden[hidden.face_set == CONTROLS[control].format(member_group=member_group)]
        parts.append(rows.assign(member_group=member_group, identity=rows.pseudonym, is_member=rows.group == member_group))
    return pd.concat(parts, ignore_index=True)[["member_group", "identity", "is_member", "score"]]
