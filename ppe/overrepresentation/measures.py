"""How visible an over-represented identity is in a generator's faces: matching faces, and the rank of its query photos.

Each measure is a table ``values``, one row a target and generator: ``identity``, ``group`` (the generator), ``data_share``,
``value`` (large = more visible), and ``KEYS`` of ``ppe.overrepresentation.data_share``. A target is known by its *template*,
the mean embedding of query photos that trained no generator; all targets and control identities have equally many of them.
"""

import itertools

import numpy as np
import pandas as pd
import torch

from ppe.attacks.nearest import find_nearest
from ppe.attacks.scores import score_nearest, score_nearest_top_k
from ppe.attacks.selection import aggregate_scores
from ppe.config import load_array


def average_templates(embeddings, identity):
    """Average each identity's embeddings to a template, which depends less on the pose and light of one photo.

    Parameters
    ----------
    embeddings : Tensor [N, D], float32, unit L2 norm.
    identity : sequence of str, N.

    Returns
    -------
    identities : ndarray [P] of str, sorted.
    templates : Tensor [P, D], float32, unit L2 norm.
    """
    identities, number = np.unique(np.asarray(identity), return_inverse=True)
    sums = torch.zeros(len(identities), embeddings.shape[1]).index_add_(0, torch.from_numpy(number), embeddings)
    return identities, torch.nn.functional.normalize(sums)


def choose_baseline(groups):
    """Divide the generators of an experiment of kind ``none``: every other one sets thresholds, the others are judged.

    groups : iterable of str. Returns (choosing, judged), two lists.
    """
    groups = sorted(groups)
    return groups[::2], groups[1::2]


def measure_overlap(members, choosing, judged):
    """The share of training photos that two generators have in common: float, in [0, 1], the mean over pairs.

    members : DataFrame group, image_id; choosing, judged : lists of str, of ``choose_baseline``.
    """
    photos = members.groupby("group").image_id.apply(set)
    pairs = itertools.product(choosing, judged)
    return float(np.mean([len(photos[one] & photos[other]) / len(photos[one]) for one, other in pairs]))


def load_embeddings(folder, embedders, groups, chosen):
    """Load the embeddings of the faces of some generators.

    Parameters
    ----------
    folder : path. Holds ``<embedder>.npy``, float32 [G, M, D], of ``python -m ppe embed-experiment``.
    embedders : iterable of str
    groups : iterable of str, G: all generators of the experiment.
    chosen : iterable of str

    Returns
    -------
    dict, embedder -> dict, group -> Tensor [M, D], float32, unit L2 norm.
    """
    number = {group: row for row, group in enumerate(sorted(groups))}
    arrays = {embedder: load_array(folder / f"{embedder}.npy") for embedder in embedders}
    return {embedder: {group: torch.tensor(array[number[group]]) for group in chosen} for embedder, array in arrays.items()}


@torch.no_grad()
def find_match_thresholds(generated, templates, match_rate):
    """Find, for each template, the cosine that a given share of faces reaches by chance.

    Parameters
    ----------
    generated : sequence of Tensor [M, D], float32, unit L2 norm
        Faces of baseline generators, none of which was trained on these identities.
    templates : Tensor [P, D], float32, unit L2 norm.
    match_rate : float, in (0, 1)

    Returns
    -------
    threshold : ndarray [P], float64, in [-1, 1]
        A face matches an identity at or above it. Each identity has its own, since some templates are near to all faces.
    """
    cosine = torch.cat([faces @ templates.T for faces in generated]).double().numpy()
    return np.quantile(cosine, 1 - match_rate, axis=0, method="higher")


def measure_matches(generated, templates, identities, thresholds, plan):
    """Measure the share of each generator's faces that match each identity.

    Parameters
    ----------
    generated : dict, group -> Tensor [M, D], float32, unit L2 norm.
    templates, identities, thresholds : of ``average_templates`` and ``find_match_thresholds``.
    plan : DataFrame identity, group, data_share.

    Returns
    -------
    DataFrame identity, group, data_share, value (in [0, 1]; about ``match_rate`` where the identity was not used for training).
    """
    number = {identity: i for i, identity in enumerate(identities)}
    rows = plan[["identity", "group", "data_share"]].reset_index(drop=True)
    value = [
        float((generated[cell.group] @ templates[number[cell.identity]] >= thresholds[number[cell.identity]]).double().mean())
        for cell in rows.itertuples()
    ]
    return rows.assign(value=value)


def match_experiment(generated, training, members, baseline, templates, identities, plan, controls, match_rate):
    """Match targets and control identities with generated faces, and with the training photos in their place.

    The training photos are a ceiling: what an embedder finds in a generator that copies its training photos.

    Parameters
    ----------
    generated, baseline : dict, embedder -> dict, group -> Tensor [M, D], float32, unit L2 norm
        The generators that are examined, and those that set the thresholds.
    training : dict, embedder -> Tensor [T, D], float32, unit L2 norm
        Embeddings of the training photos, each photo once, in the order in which ``members`` first names them.
    members : DataFrame group, image_id, one row a training photo of a generator.
    templates : dict, embedder -> Tensor [P, D]; identities : sequence of str, P. Of ``average_templates``.
    plan : DataFrame identity, group, data_share, of the generators that are examined.
    controls : sequence of str, control identities.
    match_rate : float, in (0, 1), as in ``find_match_thresholds``.

    Returns
    -------
    values, control_values : DataFrame, of targets and of control identities; measures ``match_share`` and
    ``match_share_ceiling``.
    """
    place = {image_id: number for number, image_id in enumerate(members.image_id.drop_duplicates())}
    rows = {group: [place[image_id] for image_id in part.image_id] for group, part in members.groupby("group")}
    cells = pd.MultiIndex.from_product([controls, plan.group.unique()], names=["identity", "group"]).to_frame(index=False)
    values, control_values = [], []
    for embedder, faces in generated.items():
        thresholds = find_match_thresholds(list(baseline[embedder].values()), templates[embedder], match_rate)
        copies = {group: training[embedder][own] for group, own in rows.items()}
        for measure, looked_at in (("match_share", faces), ("match_share_ceiling", copies)):
            named = {"embedder": embedder, "measure": measure, "calibration": ""}
            known = (looked_at, templates[embedder], identities, thresholds)
            values.append(measure_matches(*known, plan).assign(**named))
            control_values.append(measure_matches(*known, cells.assign(data_share=0.0)).assign(**named))
    return pd.concat(values, ignore_index=True), pd.concat(control_values, ignore_index=True)


def rank_targets(generated, queries, photos, plan, top_k):
    """Attack the query photos: how does a target's score rank among those of control identities?

    Parameters
    ----------
    generated : dict, embedder -> dict, group -> Tensor [M, D], float32, unit L2 norm.
    queries : dict, embedder -> Tensor [N, D], float32, unit L2 norm
        Query photos of targets and control identities, equally many of each.
    photos : DataFrame, N rows: identity, part (target or control).
    plan : DataFrame identity, group, data_share.
    top_k : int
        Faces whose mean cosine is ``nearest_top_k``.

    Returns
    -------
    values, control_values : DataFrame, of targets and of control identities; measures ``nearest`` and ``nearest_top_k``
        The value is the share of control identities, or of the other ones, with a lower score, ties counted half: 0.5 is chance
        (and is given where there is no other one), 1 is above all of them. An identity's score is the mean over its photos.
    """
    attacks = {"nearest": score_nearest, "nearest_top_k": score_nearest_top_k}
    part = photos.groupby("identity").part.first()
    rows, control_rows = [], []
    for embedder, attack, group in itertools.product(generated, attacks, plan.group.unique()):
        faces = generated[embedder][group]
        score = attacks[attack](query_embeddings=queries[embedder], generated_embeddings=faces, top_k=top_k)
        identities, scores = aggregate_scores(score, photos.identity.to_numpy())
        own, is_control = dict(zip(identities, scores, strict=True)), part[identities].to_numpy() == "control"
        named = {"group": group, "embedder": embedder, "measure": attack, "calibration": ""}
        for cell in plan[plan.group == group].itertuples():
            rank = _rank(own[cell.identity], scores[is_control])
            rows.append({"identity": cell.identity, "data_share": cell.data_share, "value": rank, **named})
        for identity in identities[is_control]:
            rank = _rank(own[identity], scores[is_control & (identities != identity)])
            control_rows.append({"identity": identity, "data_share": 0.0, "value": rank, **named})
    return pd.DataFrame(rows), pd.DataFrame(control_rows)


def _rank(score, others):
    """Share of other scores that are lower, ties counted half; 0.5 where there is none: float, in [0, 1]."""
    return float(((others < score) + 0.5 * (others == score)).mean()) if len(others) else 0.5


def find_nearest_faces(faces, generated, templates, identities, plan):
    """Find the generated face that is nearest to each target's template at each data share.

    Parameters
    ----------
    faces : dict, group -> uint8 [M, 3, H, H].
    generated : dict, group -> Tensor [M, D], their embeddings by one embedder.
    templates, identities : of ``average_templates``.
    plan : DataFrame identity, target, group, data_share
        Each target at each of L data shares; the first generator counts where there are several.

    Returns
    -------
    targets : list of str, S: the identity of each target.
    nearest : uint8 [S, L, 3, H, H], data shares in rising order.
    """
    number = {identity: i for i, identity in enumerate(identities)}
    cells = plan.drop_duplicates(["target", "data_share"]).sort_values(["target", "data_share"])
    rows = [(cell.group, templates[[number[cell.identity]]]) for cell in cells.itertuples()]
    best = np.stack([faces[group][int(find_nearest(template, generated[group])[1][0])] for group, template in rows])
    return list(cells.identity.unique()), best.reshape(-1, cells.data_share.nunique(), *best.shape[1:])
