"""What could this audit have missed? Control people are planted among the generated faces, and the audit looks for them.

A share of the generated faces is replaced by photos of one control person that are used for nothing else, at the generator's
resolution. The audit scores the person's other photos. A generator that learned a person draws somebody like them, not their
photos, so the power is a guide and no promise.
"""

import numpy as np
import pandas as pd
from scipy import special, stats

from ppe.attacks.normalisation import find_top_values
from ppe.audit.p_values import choose_count, compute_p, fuse_scores, order_photos

ALONE = 0.05
"""p-value at which a planted person would stand out if nobody else were asked about."""


def measure_power(scores, vectors, cohort, observed, rules, num_generated, matched=None, repeated=False):
    """Plant control people, one at a time, and count how many the audit finds.

    Parameters
    ----------
    scores : ppe.audit.scoring.Scores, of the comparison people.
    vectors : dict, model -> ndarray [N, D]. Embeddings of their photos, in the same order.
    cohort : dict, model -> ndarray [R, D].
    observed : DataFrame of ``ppe.audit.p_values.score_people``. The planted person takes the place of one in this list, whose
        correction counts.
    rules : the section ``audit`` of params.
    num_generated : int
    matched : dict of ``ppe.audit.exchangeability.compare_matched``, optional. A finding must then stand against these, too.
    repeated : bool [N], of ``ppe.audit.copies.find_repeated``: such photos are not planted, since a scored one may be the same.

    Returns
    -------
    DataFrame, one row a share: ``share``, ``num_faces``, ``num_planted``, ``num_found``, ``power``, ``low``, ``high`` (95 %,
    Clopper and Pearson 1934), ``alone`` (share of the planted people with a p-value of at most ``ALONE``). Empty where no
    control person has a photo to spare.
    """
    names, number, counts = np.unique(scores.identity.astype(str), return_inverse=True, return_counts=True)
    usual = int(observed.photos_used.median()) if len(observed) else 1
    count = min(usual, max(1, choose_count(usual + 1, counts, rules.photo_share) - 1))
    able = np.flatnonzero(counts >= count + 1)
    place, found = order_photos(scores.identity, rules.seed), []
    spares = {}  # person -> photos that are planted
    for person in np.random.default_rng(rules.seed).permutation(able):
        spare = np.flatnonzero((number == person) & (place >= count) & ~repeated)
        if len(spare) and len(spares) < rules.num_planted:
            spares[person] = spare
    tops = {m: _draw_removal(scores.top[m], rules.seed) for m in scores.value}
    stages = [(observed, np.ones(len(names), bool))]
    if matched and "people" in matched:
        stages.append((matched["people"], np.isin(names, matched["controls"])))
    for person, spare in spares.items():
        planted = _score_spare(vectors, cohort, spare, rules)
        used = np.where(place < count, number, -1)
        for share in rules.planted_shares:
            means = _score_planted(tops, used, planted, share, rules, num_generated)
            p_values = [_compare_planted(means, used, person, is_compared) for _, is_compared in stages]
            is_found = all(_is_named(p, people, rules) for p, (people, _) in zip(p_values, stages, strict=True))
            found.append((share, is_found, max(p_values) <= ALONE))
    return _tabulate(pd.DataFrame(found, columns=["share", "is_found", "is_alone"]), num_generated)


def _draw_removal(value, seed):
    """The largest values of each photo, and a number in (0, 1) for the face of each: a face below a share is taken away."""
    return value, np.random.default_rng(seed).random(value.shape)


def _tabulate(found, num_generated):
    rows = []
    for share, part in found.groupby("share"):
        interval = stats.binomtest(int(part.is_found.sum()), len(part)).proportion_ci(0.95)
        rows.append({"share": share, "num_faces": count_faces(share, num_generated), "num_planted": len(part),
                     "num_found": int(part.is_found.sum()), "power": part.is_found.mean(), "low": interval.low,
                     "high": interval.high, "alone": part.is_alone.mean()})  # fmt: skip
    columns = ["share", "num_faces", "num_planted", "num_found", "power", "low", "high", "alone"]
    return pd.DataFrame(rows, columns=columns)


def count_faces(share, num_generated):
    """Faces that are replaced: int, at least 1."""
    return max(1, round(share * num_generated))


def _score_spare(vectors, cohort, spare, rules):
    """Value of every photo with each spare photo: dict, ``<model>/<attack>`` -> ndarray [N, spare], float32."""
    planted, options = {}, {"cohort_size": rules.cohort_size, "top_k": len(spare)}
    for name, rows in vectors.items():
        found = find_top_values(rows, rows[spare], cohort[name], **options)
        for attack in rules.scores:
            value, index = found[attack]
            planted[f"{name}/{attack}"] = value.gather(1, index.argsort(1)).numpy()
    return planted


def _score_planted(tops, used, planted, share, rules, num_generated):
    """Mean score of each comparison person where ``share`` of the faces are photos of one of them: ndarray [scores, people].

    used : int [N], the number of each photo's person, -1 for photos that are not used.
    """
    faces, is_used = count_faces(share, num_generated), used >= 0
    sizes = np.bincount(used[is_used])
    means = []
    for m, top in tops.items():
        score = _replace(top, planted[m], faces, rules, num_generated)
        means.append(np.bincount(used[is_used], score[is_used], len(sizes)) / np.maximum(sizes, 1))
    return np.array(means)


def _compare_planted(means, used, person, is_compared):
    """p-value of the planted person among those other comparison people who have as many photos: float."""
    sizes = np.bincount(used[used >= 0])
    others = (sizes == sizes[person]) & (np.arange(len(sizes)) != person) & is_compared[: len(sizes)]
    return compute_p(*fuse_scores(means[:, person], means[:, others]))


def _is_named(p_value, people, rules):
    """Whether a person with this p-value would be named in the place of another one of a list: bool.

    The other one is who has the smallest p-value, which would help.
    """
    together = np.append(np.sort(people.p_value.to_numpy(float))[1:], p_value)
    return bool(stats.false_discovery_control(together, method="bh")[-1] <= rules.false_discovery_rate)


def _replace(top, planted, faces, rules, num_generated):
    """Scores of all photos where ``faces`` generated faces, drawn at random, give way to the planted ones: ndarray [N]."""
    value, draw = top
    k = min(rules.top_k, num_generated)
    left = np.where(draw < faces / num_generated, -np.inf, value)
    copies = np.minimum(np.bincount(np.arange(faces) % planted.shape[1], minlength=planted.shape[1]), k)
    joined = np.concatenate([left, np.repeat(planted, copies, axis=1)], axis=1)
    best = np.partition(joined, joined.shape[1] - k, axis=1)[:, -k:]
    is_left = np.isfinite(best)
    return np.where(is_left, best, 0).sum(1) / np.maximum(is_left.sum(1), 1)


def find_least_share(table, rules):
    """The smallest share from which on enough planted people are found: float, or None if there is none.

    Enough are the share ``power`` of them, if its interval reaches down to ``power_low`` at most (both of the section ``audit``).
    """
    enough = (table.power >= rules.power) & (table.low >= rules.power_low)
    from_here = enough[::-1].cummin()[::-1]
    return float(table.share[from_here].iloc[0]) if from_here.any() else None


def find_least_auc(num_people, num_controls, level, power):
    """The AUC that the group test finds with probability ``power``, by the normal approximation of Mann and Whitney: float.

    NaN where so few people can be dealt in so few ways that no p-value is below ``level``.
    """
    if 1 / special.comb(num_people + num_controls, num_people) >= level:
        return np.nan
    spread = np.sqrt((num_people + num_controls + 1) / (12 * num_people * num_controls))
    return min(1.0, 0.5 + (stats.norm.ppf(1 - level) + stats.norm.ppf(power)) * spread)
