"""The density scan: find over-represented identities from generated faces alone, without query photos.

The scan looks for *peaks*: clusters of generated faces that are denser in embedding space than expected. The statistic is that of
Kulldorff (1997), *A spatial scan statistic*: the log likelihood ratio of n faces within a radius where e were expected.

The null hypothesis needs care. Every generator has modes, and face recognition models find some kinds of face near to
everything. So the threshold is neither an even spread nor real faces alone. It is the highest peak of *baseline* generators: of
the same recipe, trained on equally many photos of other background identities, and without an over-represented identity. With n
of them, another such generator exceeds the highest of their peaks with probability 1 / (n + 1), whatever its modes are.
"""

import itertools

import numpy as np
import pandas as pd
import torch
from scipy import stats

from ppe.attacks.nearest import count_within

CALIBRATIONS = ("generators", "cohort")
"""What the expected density is taken from: faces of the baseline generators, or the cohort (photos of auxiliary identities)."""


def find_peaks(generated, calibration, radius, num_peaks):
    """Find the densest clusters of a generator's faces, densest first; the faces of one are removed before the next is sought.

    Parameters
    ----------
    generated : Tensor [M, D], float32, unit L2 norm.
    calibration : Tensor [R, D], float32, unit L2 norm
        Faces in which no identity is over-represented: see ``choose_calibration``.
    radius : float, in (0, 2]
        Cosine distance within which two faces are near.
    num_peaks : int
        Peaks at most; fewer where no remaining face has more faces near it than expected.

    Returns
    -------
    peaks : DataFrame, one row a peak
        ``center`` (int, row of ``generated``), ``num_faces`` (n: other faces within the radius of it), ``expected`` (e: the
        share of the calibration faces within the radius, one more counted on either side, times the number of remaining faces
        but one), ``score`` (n log(n / e) - (n - e); large = too dense).
    peak : ndarray [M], int64
        The peak of each face; -1: none.
    """
    is_left = torch.ones(len(generated), dtype=torch.bool)
    share = (count_within(generated, calibration, radius).double() + 1) / (len(calibration) + 1)
    near = count_within(generated, generated, radius).double() - 1
    peak = np.full(len(generated), -1)
    rows = []
    for number in range(num_peaks):
        expected = share * (is_left.sum() - 1)
        score = torch.where(near > expected, near * (near / expected).log() - (near - expected), torch.zeros(()).double())
        score[~is_left] = 0
        center = int(score.argmax())
        if score[center] <= 0:
            break
        inside = is_left & (generated @ generated[center] >= 1 - radius)
        inside[center] = True
        rows.append({"center": center, "num_faces": int(near[center]), "expected": float(expected[center]),
                     "score": float(score[center])})  # fmt: skip
        peak[inside.numpy()] = number
        is_left &= ~inside
        near -= count_within(generated, generated[inside], radius)
    return pd.DataFrame(rows, columns=["center", "num_faces", "expected", "score"]), peak


def average_peaks(generated, peak, num_peaks):
    """The unit mean embedding of the faces of each peak: Tensor [num_peaks, D], float32."""
    means = torch.stack([generated[torch.from_numpy(peak == number)].mean(0) for number in range(num_peaks)])
    return torch.nn.functional.normalize(means)


@torch.no_grad()
def find_thresholds(baseline, cohort, templates, *, radius, num_peaks, against):
    """Measure how dense peaks get, and how near to each identity, in generators without an over-represented identity.

    Parameters
    ----------
    baseline : dict, group -> Tensor [M, D], float32, unit L2 norm
        Faces of those generators. Each is compared with the others, never with its own faces.
    cohort, against : as in ``choose_calibration``.
    templates : Tensor [P, D], float32, unit L2 norm
        Of ``ppe.overrepresentation.data_share.average_templates``.
    radius, num_peaks : as in ``find_peaks``.

    Returns
    -------
    density : float
        The largest score of a peak; a peak above it raises an alarm.
    nearness : ndarray [P], float64, in [-1, 1]
        The largest cosine of a peak's mean face and each template; a peak above it belongs to the identity.
    """
    density, nearness = 0.0, np.full(len(templates), -1.0)
    for group, faces in baseline.items():
        calibration = choose_calibration({g: other for g, other in baseline.items() if g != group}, cohort, against)
        peaks, peak = find_peaks(faces, calibration, radius, num_peaks)
        if len(peaks):
            cosine = average_peaks(faces, peak, len(peaks)) @ templates.T
            density, nearness = max(density, peaks.score.max()), np.maximum(nearness, cosine.amax(0).double().numpy())
    return density, nearness


def choose_calibration(baseline, cohort, against):
    """Choose the faces that say what density to expect.

    Parameters
    ----------
    baseline : dict, group -> Tensor [M, D]
    cohort : Tensor [R, D], embeddings of photos of auxiliary identities.
    against : str, one of ``CALIBRATIONS``.

    Returns
    -------
    Tensor: the faces of all baseline generators, or the cohort, which is also taken where there is no baseline generator.
    """
    return torch.cat(list(baseline.values())) if against == "generators" and baseline else cohort


@torch.no_grad()
def judge_peaks(faces, peaks, peak, identities, templates, overrepresented, thresholds):
    """Decide which peaks raise an alarm, and whose face each of them is.

    Parameters
    ----------
    faces, peaks, peak : Tensor [M, D], and what ``find_peaks`` returned.
    identities, templates : ndarray [P] of str, Tensor [P, D]
        All whose face a peak could be: targets and control identities.
    overrepresented : set of str
        Identities that are over-represented in this generator's training set.
    thresholds : (float, ndarray [P]), of ``find_thresholds``.

    Returns
    -------
    ``peaks`` with four more columns

        - ``is_alarm``: the score is above the threshold.
        - ``identity``: whose template is nearest to the peak's mean face, and ``cosine`` to that template.
        - ``is_true``: an alarm whose identity is over-represented, and nearer to the peak than to any peak of the baseline
          generators. An alarm that is not true is a false alarm.
    """
    if not len(peaks):
        return peaks.assign(is_alarm=False, identity="", cosine=np.nan, is_true=False)
    density, nearness = thresholds
    cosine, nearest = (average_peaks(faces, peak, len(peaks)) @ templates.T).max(1)
    identity, cosine = np.asarray(identities)[nearest.numpy()], cosine.double().numpy()
    is_alarm = peaks.score.to_numpy() > density
    is_true = is_alarm & np.isin(identity, list(overrepresented)) & (cosine > nearness[nearest.numpy()])
    return peaks.assign(is_alarm=is_alarm, identity=identity, cosine=cosine, is_true=is_true)


def scan_experiment(
    generated, baseline, cohort, identities, templates, plan, *, radius, num_peaks, against, max_background_photos
):  # fmt: skip
    """Scan each generator of an experiment for over-represented identities.

    Parameters
    ----------
    generated : dict, group -> Tensor [M, D]
        The generators that are scanned, none of which sets the thresholds.
    baseline, cohort, against : as in ``choose_calibration``; the baseline generators set the thresholds.
    identities, templates : as in ``judge_peaks``.
    plan : DataFrame identity, group, data_share, num_photos.
    radius, num_peaks : as in ``find_peaks``.
    max_background_photos : int
        Photos of a background identity, at most: a target with no more of them is not over-represented.

    Returns
    -------
    detected : DataFrame identity, group, data_share, value
        1 where the target was detected, else 0.
    peaks : DataFrame of ``judge_peaks`` for all generators
        With ``group``, ``peak`` (int), ``data_share`` of the identity (NaN: a control identity) and ``threshold``, the score
        above which a peak raises an alarm.
    """
    thresholds = find_thresholds(baseline, cohort, templates, radius=radius, num_peaks=num_peaks, against=against)
    # A baseline generator is compared with all others. So one is left out here: sparse regions would seem emptier otherwise.
    calibration = choose_calibration({group: baseline[group] for group in list(baseline)[:-1]}, cohort, against)
    parts = []
    for group, faces in generated.items():
        cells = plan[plan.group == group]
        peaks, peak = find_peaks(faces, calibration, radius, num_peaks)
        overrepresented = set(cells.identity[cells.num_photos > max_background_photos])
        judged = judge_peaks(faces, peaks, peak, identities, templates, overrepresented, thresholds)
        data_share = judged.identity.map(cells.set_index("identity").data_share).astype(float)
        parts.append(judged.assign(group=group, peak=range(len(judged)), threshold=thresholds[0], data_share=data_share))
    peaks = pd.concat(parts, ignore_index=True)
    true = set(zip(peaks.group[peaks.is_true], peaks.identity[peaks.is_true], strict=True))
    rows = plan.loc[plan.group.isin(generated), ["identity", "group", "data_share"]].reset_index(drop=True)
    value = [float((group, identity) in true) for group, identity in zip(rows.group, rows.identity, strict=True)]
    return rows.assign(value=value), peaks


def scan_embedders(generated, baseline, cohort, identities, templates, plan, *, radius, **options):
    """``scan_experiment`` by each embedder and each of ``CALIBRATIONS``.

    Parameters
    ----------
    generated, baseline, cohort, templates, radius : dict, embedder -> as in ``scan_experiment``.
    identities, plan, options : as in ``scan_experiment``.

    Returns
    -------
    detected, peaks, alarms : DataFrame, of ``scan_experiment`` and ``count_alarms``, with ``embedder``, ``measure`` and
        ``calibration``. The measure is ``detected``, or ``false_alarms`` in the table of alarms.
    """
    tables = []
    for embedder, against in itertools.product(generated, CALIBRATIONS):
        known = (generated[embedder], baseline[embedder], cohort[embedder], identities, templates[embedder], plan)
        detected, peaks = scan_experiment(*known, radius=radius[embedder], against=against, **options)
        alarms = count_alarms(peaks, list(generated[embedder]))
        named = {"embedder": embedder, "measure": "detected", "calibration": against}
        tables.append([table.assign(**named) for table in (detected, peaks, alarms)])
    detected, peaks, alarms = (pd.concat(parts, ignore_index=True) for parts in zip(*tables, strict=True))
    return detected, peaks, alarms.assign(measure="false_alarms")


def count_alarms(peaks, groups, confidence=0.95):
    """Count the false alarms of each generator, and the share of all alarms that is true.

    Parameters
    ----------
    peaks : DataFrame of ``scan_experiment``.
    groups : sequence of str, all generators that were scanned.
    confidence : float, in (0, 1)

    Returns
    -------
    DataFrame: ``group``, ``statistic``, ``value``, ``low``, ``high``, ``num_generators``.

        - ``generator``, one row each: its false alarms.
        - ``mean``: false alarms a generator.
        - ``share``: share of the generators with a false alarm, with its exact interval (Clopper and Pearson 1934).
        - ``precision``, if there are alarms: the share of them that is true. An identity with several peaks in one generator
          counts once.
    """
    counts = peaks[peaks.is_alarm & ~peaks.is_true].groupby("group").size().reindex(groups, fill_value=0)
    has_alarm = int((counts > 0).sum())
    interval = stats.binomtest(has_alarm, len(counts)).proportion_ci(confidence, method="exact")
    rows = [{"group": group, "statistic": "generator", "value": float(n), "num_generators": 1} for group, n in counts.items()]
    rows.append({"group": "", "statistic": "mean", "value": counts.mean(), "num_generators": len(counts)})
    rows.append({"group": "", "statistic": "share", "value": has_alarm / len(counts), "low": interval.low,
                 "high": interval.high, "num_generators": len(counts)})  # fmt: skip
    if peaks.is_alarm.any():
        num_true = len(peaks[peaks.is_true].drop_duplicates(["group", "identity"]))
        precision = num_true / (num_true + counts.sum())
        rows.append({"group": "", "statistic": "precision", "value": precision, "num_generators": len(counts)})
    return pd.DataFrame(rows, columns=["group", "statistic", "value", "low", "high", "num_generators"])
