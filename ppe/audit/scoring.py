"""Scores of photos against generated faces, by each model and attack: the mean of the largest cosines, as they are or S-normed.

``nearest_top_k`` sees copies best. ``nearest_snorm`` (``ppe.attacks.normalisation``) may see a generator better that learned a
person. A person's score combines both, by each model.
"""

from typing import NamedTuple

import numpy as np

from ppe.attacks.normalisation import find_top_values
from ppe.config.storage import release_pages
from ppe.embedders.embed import compute_verification, verify_pairs
from ppe.embedders.pairs import count_pairs
from ppe.embedders.verification import MIN_PAIRS

SPARE = 2
"""Times ``top_k`` values are kept of each photo, so that planting can take some away."""
MAX_PAIRS = 2000
"""Pairs of photos that check a model."""


class Scores(NamedTuple):
    """Of one set of people; keys are ``<model>/<attack>``.

    value : dict, key -> ndarray [N], float32. The score of each photo; large = member.
    top : dict, key -> ndarray [N, k], float32: the largest values of each photo, largest first.
    identity : ndarray [N] of str.
    """

    value: dict
    top: dict
    identity: np.ndarray


def score_photos(faces, generated, cohort, rules, models):
    """Score every photo against the generated faces.

    Parameters
    ----------
    faces, generated : ppe.audit.face_sets.FaceSet
    cohort : dict, model -> ndarray [R, D], float32, unit L2 norm. Photos of the control people who normalise scores.
    rules : the section ``audit`` of params: ``scores``, ``cohort_size``, ``top_k``.
    models : sequence of str

    Returns
    -------
    Scores
    """
    value, top = {}, {}
    for name in models:
        query = np.array(faces.vectors[name])
        release_pages(faces.vectors[name])
        options = {"cohort_size": rules.cohort_size, "top_k": SPARE * rules.top_k}
        found = find_top_values(query, generated.vectors[name], cohort[name], **options)
        for attack in rules.scores:
            top[f"{name}/{attack}"] = found[attack][0].numpy()
            value[f"{name}/{attack}"] = found[attack][0][:, : rules.top_k].mean(1).numpy()
    return Scores(value, top, faces.identity)


def select_scores(scores, rows):
    """Chosen rows of ``Scores``: those of the comparison people, say."""
    top = {name: best[rows] for name, best in scores.top.items()}
    return Scores({name: value[rows] for name, value in scores.value.items()}, top, scores.identity[rows])


def check_models(sets, models, min_auc, seed):
    """Measure whether each model can tell these people apart at the generator's resolution.

    Parameters
    ----------
    sets : list of ppe.audit.face_sets.FaceSet. Photos of real people.
    models : sequence of str
    min_auc : float. The AUC that a model must reach (``verdicts.min_verification_auc``).
    seed : int

    Returns
    -------
    dict, model -> {"auc": float, "is_sound": bool, "num_pairs": int}
        A model that could not be checked, since nearly all people have one photo, has an AUC of NaN and is not sound.
    """
    identity = np.concatenate([faces.identity.astype(str) for faces in sets])
    num_pairs = 2 * min(MAX_PAIRS // 2, *count_pairs(identity))
    checked = {}
    for name in models:
        auc = float("nan")
        if num_pairs >= MIN_PAIRS:
            vectors = np.concatenate([np.array(faces.vectors[name]) for faces in sets])
            auc = compute_verification(*verify_pairs(vectors, identity, num_pairs=num_pairs, seed=seed))["auc"]
        checked[name] = {"auc": auc, "is_sound": bool(auc >= min_auc), "num_pairs": num_pairs}
    return checked
