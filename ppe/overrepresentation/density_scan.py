"""Find people that a GAN draws too often without suspecting anybody: places in identity space that are denser than they should
be, by generated faces alone.

The statistic is that of Kulldorff (1997), *A spatial scan statistic*: the log likelihood ratio of n faces within a radius where
e were expected. What is fair to expect? Every GAN has modes, and nets find some kinds of face near to everything, so neither an
even spread nor real faces alone are the null: it is the densest place of a GAN of the same recipe that was shown equally many
photos of another crowd in which nobody stands out. With n such GANs, one that was shown nobody too often exceeds the largest of
theirs with probability 1 / (n + 1), whatever its modes.
"""

import numpy as np
import pandas as pd
import torch
from scipy import stats

from ppe.attacks.nearest import count_within


def find_peaks(generated, reference, radius, num_peaks):
    """Find the densest places of a GAN's faces, the densest first; faces of one place are taken out before the next is sought.

    Parameters
    ----------
    generated : Tensor [M, D], float32, unit L2 norm.
    reference : Tensor [R, D], float32, unit L2 norm. What faces are like when nobody stands out: faces of GANs of other crowds,
        or real faces of auxiliary people.
    radius : float, in (0, 2]. Cosine distance within which two faces are near.
    num_peaks : int. Places at most; fewer where no face is left that has more near it than expected.

    Returns
    -------
    places : DataFrame, a row a place: ``center`` (row of ``generated``), ``num_faces`` (others within the radius of it, n),
        ``expected`` (e: the share of the reference within the radius, one more counted on either side, times the faces that
        are left but one), ``score`` (n log(n / e) - (n - e); large = too dense).
    place : ndarray [M], int64. The place of each face, -1: none.
    """
    is_left = torch.ones(len(generated), dtype=torch.bool)
    share = (count_within(generated, reference, radius).double() + 1) / (len(reference) + 1)
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
    """The unit mean embedding of the faces of each place: Tensor [num_peaks, D], float32."""
    means = torch.stack([generated[torch.from_numpy(peak == number)].mean(0) for number in range(num_peaks)])
    return torch.nn.functional.normalize(means)


def find_thresholds(baseline, real, references, *, radius, num_peaks, against):
    """See how dense places get, and how near to each person, in GANs in which nobody stands out.

    Parameters
    ----------
    crowds : dict, group -> Tensor [M, D]. Faces of those GANs. Each is held against the others, never against its own faces.
    real, against : as in ``choose_reference``.
    references : Tensor [P, D]. Of ``ppe.overrepresentation.data_share.average_references``.
    radius, num_peaks : as in ``find_peaks``.

    Returns
    -------
    density : float. The largest score of a place; one above it is a discovery.
    nearness : ndarray [P]. The largest cosine of a place's mean face and each person's references; one above it is the person.
    """
    density, nearness = 0.0, np.full(len(references), -1.0)
    for group, faces in baseline.items():
        reference = choose_reference({g: other for g, other in baseline.items() if g != group}, real, against)
        peaks, peak = find_peaks(faces, reference, radius, num_peaks)
        if len(peaks):
            cosine = average_peaks(faces, peak, len(peaks)) @ references.T
            density, nearness = max(density, peaks.score.max()), np.maximum(nearness, cosine.amax(0).double().numpy())
    return density, nearness


def choose_reference(baseline, real, against):
    """What faces are like when nobody stands out: ``gan``, faces of the crowds' GANs; or ``real``, of auxiliary people.

    crowds : dict, group -> Tensor [M, D]; real : Tensor [R, D]. Returns a Tensor; the real faces where no other crowd is left.
    """
    return torch.cat(list(baseline.values())) if against == "generators" and baseline else real


def judge_peaks(faces, peaks, peak, people, references, stands_out, thresholds):
    """Say which places are discoveries, and whose they are.

    Parameters
    ----------
    faces, places, place : Tensor [M, D], and what ``find_peaks`` returned.
    people, references : ndarray [P] of str, Tensor [P, D]. Everybody whom a place could be: subjects and null people.
    stands_out : set of str. People whom this GAN was shown too often.
    thresholds : (float, ndarray [P]). Of ``find_thresholds``.

    Returns
    -------
    ``peaks`` with ``is_alarm``, ``identity`` (the person whose references are nearest to the place's mean face),
    ``cosine`` (to them) and ``is_true``: a discovery whose person stands out, and is nearer than to any place of the GANs that
    set the thresholds. A discovery that is not true is a false alarm.
    """
    if not len(peaks):
        return peaks.assign(is_alarm=False, identity="", cosine=np.nan, is_true=False)
    density, nearness = thresholds
    cosine, nearest = (average_peaks(faces, peak, len(peaks)) @ references.T).max(1)
    identity, cosine = np.asarray(people)[nearest.numpy()], cosine.double().numpy()
    is_alarm = peaks.score.to_numpy() > density
    is_true = is_alarm & np.isin(identity, list(stands_out)) & (cosine > nearness[nearest.numpy()])
    return peaks.assign(is_alarm=is_alarm, identity=identity, cosine=cosine, is_true=is_true)


def scan_experiment(generated, baseline, real, people, references, plan, *, radius, num_peaks, against, max_background_photos):
    """Look for over-represented people in each GAN of a square.

    Parameters
    ----------
    generated : dict, group -> Tensor [M, D]: the GANs to look at, none of which set the thresholds.
    crowds, real, against : as in ``choose_reference``; crowds are those that set the thresholds.
    people, references : as in ``judge_peaks``.
    plan : DataFrame identity, group, dose, num_photos.
    radius, num_peaks : as in ``find_peaks``.
    max_background_photos : int. Photos of a person of the crowd, at most: a subject of no more does not stand out.

    Returns
    -------
    found : DataFrame ``values`` of ``ppe.overrepresentation.data_share``: value 1 where the subject was discovered, else 0.
    places : DataFrame of ``judge_peaks`` for every GAN, with ``group``, ``peak``, ``data_share`` of the person (NaN: a null
        person) and ``threshold``, the score above which a place is a discovery.
    """
    thresholds = find_thresholds(baseline, real, references, radius=radius, num_peaks=num_peaks, against=against)
    # A crowd that sets them is held against all the others: as many here, or sparse places would seem emptier.
    reference = choose_reference({group: baseline[group] for group in list(baseline)[:-1]}, real, against)
    parts = []
    for group, faces in generated.items():
        cells = plan[plan.group == group]
        peaks, peak = find_peaks(faces, reference, radius, num_peaks)
        stands_out = set(cells.identity[cells.num_photos > max_background_photos])
        judged = judge_peaks(faces, peaks, peak, people, references, stands_out, thresholds)
        data_share = judged.identity.map(cells.set_index("identity").data_share)
        named = {"group": group, "place": range(len(judged)), "threshold": thresholds[0]}
        parts.append(judged.assign(**named, data_share=data_share.astype(float)))
    peaks = pd.concat(parts, ignore_index=True)
    true = set(zip(peaks.group[peaks.is_true], peaks.identity[peaks.is_true], strict=True))
    rows = plan.loc[plan.group.isin(generated), ["identity", "group", "data_share"]].reset_index(drop=True)
    value = [float((group, identity) in true) for group, identity in zip(rows.group, rows.identity, strict=True)]
    return rows.assign(value=value), peaks


def count_alarms(peaks, groups, confidence=0.95):
    """Count the discoveries that are nobody who stands out, and say how many of all are somebody who does.

    Parameters
    ----------
    places : DataFrame of ``scan_experiment``.
    groups : sequence of str. All GANs that were looked at.

    Returns
    -------
    DataFrame: ``group``, ``statistic``, ``value``, ``low``, ``high``, ``num_generators``. A row "gan" each: its false alarms; a row
    "mean": false alarms a GAN; a row "share": share of the GANs with one or more, with its exact interval (Clopper and Pearson
    1934); and, where there are discoveries, a row "precision": the share of them that is true, a person who was found in several
    places of a GAN counting once.
    """
    counts = peaks[peaks.is_alarm & ~peaks.is_true].groupby("group").size().reindex(groups, fill_value=0)
    has_alarm = int((counts > 0).sum())
    interval = stats.binomtest(has_alarm, len(counts)).proportion_ci(confidence, method="exact")
    rows = [{"group": group, "statistic": "generator", "value": float(count), "num_generators": 1} for group, count in counts.items()]
    rows.append({"group": "", "statistic": "mean", "value": counts.mean(), "num_generators": len(counts)})
    rows.append({"group": "", "statistic": "share", "value": has_alarm / len(counts), "low": interval.low,
                 "high": interval.high, "num_generators": len(counts)})  # fmt: skip
    if peaks.is_alarm.any():
        num_true = len(peaks[peaks.is_true].drop_duplicates(["group", "identity"]))
        precision = num_true / (num_true + counts.sum())
        rows.append({"group": "", "statistic": "precision", "value": precision, "num_generators": len(counts)})
    return pd.DataFrame(rows, columns=["group", "statistic", "value", "low", "high", "num_generators"])
