"""Attacks that look through all embedders at once: ``fused`` adds their scores, ``learned`` weights many on a shadow generator.

Two face recognition models make different mistakes. And no single score is best on all data: the largest cosine, averages of many
and densities each carry some of the leak. ``learned`` chooses their weights on the reference generator, whose training identities
are known to whoever trained it: a shadow model in the sense of Shokri et al. 2017, arXiv 1610.05820.

Scores of different generators and embedders are put on one scale by people who are surely no members: the mean and the standard
deviation of their scores against the generator at hand. The photos that are asked about have no influence on it.
"""

import numpy as np
import pandas as pd
from sklearn.linear_model import LogisticRegression

from ppe.attacks.nearest import compute_log_density, find_top_k
from ppe.attacks.normalisation import find_top_k_snorm, measure_cohort, score_nearest_snorm
from ppe.config.storage import to_tensor

TOGETHER = ("learned", "fused")
"""The attacks of this module; ``fused`` needs two embedders."""
NUMBERS = (1, 10, 30, 100, 300)
"""Generated faces whose cosines are averaged."""
CONCENTRATIONS = (16.0, 32.0, 64.0)
"""Of the density's kernel."""
COHORT_SIZE = 100
"""Nearest photos of the cohort in the features of ``learned``."""
SMALLEST_SPREAD = 1e-9
"""Standard deviation below which a feature is the same for everybody and says nothing."""


def score_fused(query, outside, generated, cohort, constants):
    """Score each query by the sum of all embedders' ``nearest_snorm``, each standardised by people who are no members.

    Parameters
    ----------
    query, outside : dict, embedder -> Tensor [N, D] and [T, D], float32, unit L2 norm. Query photos, and photos of auxiliary
        identities that are not in the cohort.
    generated, cohort : dict, embedder -> Tensor [M, D] and [C, D], float32, unit L2 norm.
    constants : dict, embedder -> dict with ``cohort_size`` and ``snorm_top_k``.

    Returns
    -------
    score : ndarray [N], float64; large = member.
    """
    def score(photos):
        rows = {
            name: score_nearest_snorm(
                query_embeddings=photos[name], generated_embeddings=generated[name], cohort_embeddings=cohort[name],
                cohort_size=constants[name]["cohort_size"], snorm_top_k=constants[name]["snorm_top_k"],
            )
            for name in query
        }
        return pd.DataFrame(rows, dtype=np.float64)

    return standardise(score(query), score(outside)).sum(axis=1).to_numpy()


def measure_features(photos, generated, cohort):
    """Compute 14 scores of each photo by each embedder: the features of ``learned``.

    The largest cosine; the means of the 10, 30, 100 and 300 largest; the mean of all; log densities at three concentrations; the
    means of the 10, 30, 100 and 300 largest normalised cosines; and how near the photo is to the cohort.

    photos, generated, cohort : dict, embedder -> Tensor [N, D], [M, D] and [C, D], float32, unit L2 norm.
    Returns a DataFrame [N, 14 * embedders], float64.
    """
    columns = {}
    for name, rows in photos.items():
        faces, others = generated[name], cohort[name]
        largest = find_top_k(rows, faces, max(NUMBERS))
        normalised = find_top_k_snorm(rows, faces, others, COHORT_SIZE, max(NUMBERS))
        columns |= {f"{name} top {k}": largest[:, :k].mean(1) for k in NUMBERS}
        columns |= {f"{name} snorm {k}": normalised[:, :k].mean(1) for k in NUMBERS[1:]}
        columns |= {f"{name} density {c:g}": compute_log_density(rows, faces, c) for c in CONCENTRATIONS}
        columns[f"{name} mean"] = to_tensor(rows) @ to_tensor(faces).mean(0)
        columns[f"{name} cohort"] = measure_cohort(rows, others, COHORT_SIZE)[0]
    return pd.DataFrame({name: column.detach().cpu().numpy().astype(np.float64) for name, column in columns.items()})


def standardise(scores, outside):
    """Subtract from each column the mean of ``outside``, people who are no members, and divide by their standard deviation.

    scores, outside : DataFrame [N, F] and [T, F]. A column that is the same for all of ``outside`` becomes 0.
    """
    spread = outside.std(ddof=0)
    return ((scores - outside.mean()) / spread.where(spread > SMALLEST_SPREAD, np.inf)).fillna(0.0)


def fit_weights(shadow, outside, regularisation):
    """Fit the weights of ``learned`` on a shadow generator: a logistic regression on standardised features.

    Parameters
    ----------
    shadow : DataFrame [S, F]
        Features, against the shadow generator, of photos of its training identities that were not used for training.
    outside : DataFrame [T, F]. The same of photos of people who are no members.
    regularisation : float, above 0. Inverse strength C of the penalty; a small one shares the weight among the features.

    Returns
    -------
    callable, (features [N, F], outside [T, F]) -> ndarray [N], float64: the log odds of membership under any generator.
    """
    features = pd.concat([standardise(shadow, outside), standardise(outside, outside)])
    is_member = np.repeat([True, False], [len(shadow), len(outside)])
    model = LogisticRegression(C=regularisation, class_weight="balanced", max_iter=2000).fit(features, is_member)
    return lambda scores, others: model.decision_function(standardise(scores, others))


def score_together(photos, query, shadow, outside, generated, cohort, constants, *, regularisation, groups="abc"):
    """Score photos by ``learned`` and, where there are two embedders or more, by ``fused``.

    The weights of ``learned`` follow from the reference generator c, its training identities and auxiliary identities alone.

    Parameters
    ----------
    photos : DataFrame, N rows: image_id, identity, group, role.
    query, shadow, outside, cohort : dict, embedder -> Tensor, float32, unit L2 norm
        [N, D], the photos; [S, D], photos of the reference generator's training identities that it was not trained on; [T, D] and
        [C, D], photos of two parts of the auxiliary identities.
    generated : dict, embedder -> dict, group -> Tensor [M, D].
    constants : dict, embedder -> dict, as in ``score_fused``.
    regularisation : float, as in ``fit_weights``.
    groups : groups whose generators are scored against.

    Returns
    -------
    DataFrame as ``ppe.attacks.queries.score_photos``
        ``embedder`` and ``calibration`` are empty.
    """
    faces = {group: {name: generated[name][group] for name in generated} for group in {*groups, "c"}}
    others = {group: measure_features(outside, faces[group], cohort) for group in faces}
    score = fit_weights(measure_features(shadow, faces["c"], cohort), others["c"], regularisation)
    parts = []
    for group in groups:
        found = {"learned": score(measure_features(query, faces[group], cohort), others[group])}
        if len(query) > 1:
            found["fused"] = score_fused(query, outside, faces[group], cohort, constants)
        for attack, values in found.items():
            parts.append(photos.assign(face_set=group, embedder="", attack=attack, calibration="", score=values))
    return pd.concat(parts, ignore_index=True)
