"""How far a person comes through against the dose at which a GAN was shown it: the fourth claim of Webster et al., arXiv
2107.06018, one over-represented person leaks even where everybody else is diverse.

What is measured is a table ``values``, one row a person and GAN: ``identity``, ``group`` (the GAN), ``data_share``, ``value`` (large =
more of the person). A person is known by *references*, photos that no GAN was shown, equally many for everybody.
"""

import itertools
import math
import warnings

import numpy as np
import pandas as pd
import torch
from scipy import stats

from ppe.attacks.scores import aggregate_scores, score_nearest, score_nearest_top_k
from ppe.config import load_table
from ppe.statistics.intervals import MIN_IDENTITIES
from ppe.statistics.metrics import compute_auc

MAX_EXACT = 5040
"""Orders of the GANs, 7!, up to which all are counted; beyond, as many are drawn as there are permutations."""
KEYS = ["embedder", "measure", "calibration"]
ROW_COLUMNS = [
    *("experiment", "kind", "baseline", "dataset", "resolution", "generator", "kimg", "num_photos", "num_generated", "seed", *KEYS),
    *("embedder_auc", "statistic", "data_share", "group", "pseudonym", "value", "low", "high", "p_value", "num_identities", "num_controls"),
    "num_generators",
]
"""Columns of a square's rows. ``statistic`` says what the value is of: a "person" in one GAN, the "mean" of a dose, the "trend"
over doses, the "contrast" of the largest dose and 0, "null" people at a dose, the "onset" (a dose), one "generator", the "share" of the
GANs with an alarm, or the "precision" of discoveries."""


def average_references(embeddings, identity):
    """The unit mean of each person's reference embeddings, in which pose and light of one photo weigh less.

    embeddings : Tensor [N, D], float32, unit L2 norm; identity : sequence of str, N.
    Returns (people, sorted ndarray of str [P]; Tensor [P, D], float32, unit L2 norm).
    """
    people, number = np.unique(np.asarray(identity), return_inverse=True)
    sums = torch.zeros(len(people), embeddings.shape[1]).index_add_(0, torch.from_numpy(number), embeddings)
    return people, torch.nn.functional.normalize(sums)


def choose_baseline(groups):
    """Every other GAN of a square of kind ``none`` sets thresholds, the others are judged: (choosing, judged), lists."""
    groups = sorted(groups)
    return groups[::2], groups[1::2]


def find_match_thresholds(generated, references, match_rate):
    """Find the cosine that a given share of the faces reaches which GANs made that never saw these people.

    Parameters
    ----------
    generated : sequence of Tensor [M, D], float32, unit L2 norm. Faces of GANs at dose 0, by GAN.
    references : Tensor [P, D], float32, unit L2 norm. Of ``average_references``.
    match_rate : float, in (0, 1).

    Returns
    -------
    threshold : ndarray [P], float64, in [-1, 1]; a face matches a person at or above it. The person's own, since some
        references are near to everything that a GAN makes.
    """
    cosine = torch.cat([faces @ references.T for faces in generated]).double().numpy()
    return np.quantile(cosine, 1 - match_rate, axis=0, method="higher")


def measure_matches(generated, references, people, thresholds, plan):
    """Measure the share of each GAN's faces that match each subject.

    generated : dict, group -> Tensor [M, D]; references, people, thresholds : of the two functions above; plan : DataFrame
    identity, group, dose. Returns ``values``: identity, group, dose, value (in [0, 1]; match_rate is what a dose of 0 gives).
    """
    number = {identity: i for i, identity in enumerate(people)}
    rows = plan[["identity", "group", "data_share"]].reset_index(drop=True)
    value = [
        float((generated[cell.group] @ references[number[cell.identity]] >= thresholds[number[cell.identity]]).double().mean())
        for cell in rows.itertuples()
    ]
    return rows.assign(value=value)


def rank_targets(generated, queries, photos, plan, top_k):
    """Attack the subjects' unseen photos: does a subject score higher than people who are in no set at all?

    Parameters
    ----------
    generated : dict, group -> Tensor [M, D], float32, unit L2 norm.
    queries : Tensor [N, D], float32, unit L2 norm. Unseen photos of subjects and null people, equally many each.
    photos : DataFrame, N rows: identity, part (subject or null).
    plan : DataFrame identity, group, dose.
    top_k : int. Faces whose mean cosine is ``nearest_top_k``.

    Returns
    -------
    dict, attack (identity, nearest_top_k) -> ``values``, whose value is the share of null people with a lower score, a tie
    being half; a person's score is the mean over its photos. 0.5 is chance, 1 is above all of them.
    """
    attacks = {"nearest": score_nearest, "nearest_top_k": score_nearest_top_k}
    part = photos.groupby("identity").part.first()
    values = {name: [] for name in attacks}
    for name, group in itertools.product(attacks, generated):
        score = attacks[name](query_embeddings=queries, generated_embeddings=generated[group], top_k=top_k)
        people, scores = aggregate_scores(score, photos.identity.to_numpy())
        null = scores[part[people].to_numpy() == "control"]
        own = dict(zip(people, scores, strict=True))
        for cell in plan[plan.group == group].itertuples():
            is_member = np.arange(len(null) + 1) == 0
            auc = compute_auc(np.concatenate([[own[cell.identity]], null]), is_member)
            values[name].append({"identity": cell.identity, "group": group, "data_share": cell.data_share, "value": auc})
    return {name: pd.DataFrame(rows) for name, rows in values.items()}


def summarise_data_shares(values, *, num_resamples=2000, num_permutations=2000, confidence=0.95, seed=0):
    """Summarise values by dose, and test for a trend.

    The interval of a dose is the bias-corrected and accelerated bootstrap over people (Efron and Tibshirani 1993); it is left
    out below 10 people, whose points are all that there is, and where all are equal. p-values are of permutations within the
    square, all of them where they are few, else random ones. Of one dose: each person's values at that dose and at 0 may
    trade places, so that n people resolve 1 / 2^n. Of the trend: whole GANs may trade places, all people of a GAN with it
    (faces of one GAN are alike), so that five GANs resolve 1/120.

    Parameters
    ----------
    values : DataFrame identity, group, dose, value.
    num_resamples, num_permutations, seed : int
    confidence : float, in (0, 1).

    Returns
    -------
    DataFrame, a row a dose, smallest first: ``data_share``, ``statistic`` "mean", ``value``, ``low``, ``high``, ``p_value`` (one-sided:
    larger than at dose 0; NaN there), ``num_identities``; and, where there is more than one dose, a row with dose NaN, statistic
    "trend" and value: the mean over people of Spearman's correlation of value and dose, which is Page's (1963) test; one-sided
    for a rise.
    """
    people, groups = sorted(values.identity.unique()), sorted(values.group.unique())
    table = values.pivot(index="identity", columns="group", values="value").loc[people, groups].to_numpy()
    data_share = values.pivot(index="identity", columns="group", values="data_share").loc[people, groups].to_numpy()
    data_shares = np.unique(data_share)
    orders = _list_orders(len(groups), num_permutations, seed) if len(data_shares) > 1 else np.arange(len(groups))[None]
    rows = []
    for one in data_shares:
        own = np.array([table[i, data_share[i] == one].mean() for i in range(len(people)) if (data_share[i] == one).any()])
        low, high = _bound_mean(own, num_resamples, confidence, seed)
        p_value = _compare_with_none(table, data_share, one, num_permutations, seed) if one > 0 else np.nan
        rows.append({"data_share": one, "statistic": "mean", "value": own.mean(), "low": low, "high": high, "p_value": p_value,
                     "num_identities": len(own)})  # fmt: skip
    if len(data_shares) > 1:
        trends = _correlate(table, data_share, orders)
        rows.append({"data_share": np.nan, "statistic": "trend", "value": trends[0], "low": np.nan, "high": np.nan,
                     "p_value": _count_reached(trends, len(orders)), "num_identities": len(people)})  # fmt: skip
    return pd.DataFrame(rows)


def summarise_measures(values, **options):
    """``summarise_data_shares`` for each measure of each net: the same columns, and ``KEYS``.

    values : DataFrame of ``values`` and ``KEYS``; options : as in ``summarise_data_shares``.
    """
    parts = [summarise_data_shares(part, **options).assign(**dict(zip(KEYS, names, strict=True)))
             for names, part in values.groupby(KEYS, sort=False)]  # fmt: skip
    return pd.concat(parts, ignore_index=True)


def find_onsets(summary, measure="detected", share=0.5):
    """The smallest dose from which on, at it and at every larger one, the mean of a measure is at least ``share``.

    summary : DataFrame of ``summarise_measures``. Returns its ``KEYS``, ``statistic`` "onset" and ``value``, the dose; no row
    where a net and reference reach the share at no dose above 0.
    """
    means = summary[(summary.measure == measure) & (summary.statistic == "mean")].sort_values("data_share", ascending=False)
    rows = []
    for names, part in means.groupby(KEYS, sort=False):
        reached = part.data_share[(part.value >= share).cummin() & (part.data_share > 0)]
        if len(reached):
            rows.append({**dict(zip(KEYS, names, strict=True)), "statistic": "onset", "value": reached.min()})
    return pd.DataFrame(rows, columns=[*KEYS, "statistic", "value"])


def list_rows(values, summary, alarms, plan, verified, experiment, settings):
    """The numbers of a square, one row a number, with people as numbers in the place of names.

    Parameters
    ----------
    values : DataFrame of ``values`` and ``KEYS``.
    summary : DataFrame of ``summarise_measures``; alarms : of ``ppe.overrepresentation.density_scan.count_alarms``, with ``KEYS``.
    plan : DataFrame identity, subject (the number).
    verified : mapping, embedder -> AUC on people that it never saw.
    square, settings : str, mapping of the square's params.

    Returns
    -------
    DataFrame with ``ROW_COLUMNS``.
    """
    person = values.identity.map(plan.drop_duplicates("identity").set_index("identity").target).astype(str)
    people = values.assign(statistic="identity", pseudonym=person, num_identities=1)
    rows = pd.concat([people, summary, alarms], ignore_index=True)
    named = {name: settings[name] for name in ROW_COLUMNS if name in settings}
    return rows.assign(experiment=experiment, **named, embedder_auc=rows.embedder.map(verified)).reindex(columns=ROW_COLUMNS)


def collect_experiments(files):
    """Gather the rows of all squares, in the order of params.yaml; a table without rows where there is no square.

    files : dict, square -> path of its rows. Raises FileNotFoundError if one is missing.
    """
    if missing := [experiment for experiment, path in files.items() if not path.exists()]:
        raise FileNotFoundError(f"no rows of the squares {missing}: make them with `dvc repro dose@{missing[0]}`")
    empty = pd.DataFrame(columns=ROW_COLUMNS)
    return pd.concat([load_table(path) for path in files.values()], ignore_index=True) if files else empty


def _bound_mean(values, num_resamples, confidence, seed):
    if len(values) < MIN_IDENTITIES or np.ptp(values) == 0 or num_resamples < 2:
        return np.nan, np.nan
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a degenerate draw is NaN, and said so by the table
        options = {"n_resamples": num_resamples, "confidence_level": confidence, "method": "BCa"}
        found = stats.bootstrap((values,), np.mean, **options, rng=np.random.default_rng(seed))
    return float(found.confidence_interval.low), float(found.confidence_interval.high)


def _list_orders(num_groups, num_permutations, seed):
    """Orders of the GANs, int [R, G], the first as they are: all, or random ones."""
    if math.factorial(num_groups) <= MAX_EXACT:
        return np.array(list(itertools.permutations(range(num_groups))))
    orders = np.tile(np.arange(num_groups), (1 + num_permutations, 1))
    return np.concatenate([orders[:1], np.random.default_rng(seed).permuted(orders[1:], axis=1)])


def _compare_with_none(table, data_share, one, num_permutations, seed):
    """p-value of the mean difference between a dose and dose 0, over people who have both; NaN where nobody has."""
    both = [i for i in range(len(table)) if (data_share[i] == one).any() and (data_share[i] == 0).any()]
    if not both:
        return np.nan
    pair = [np.array([table[i, data_share[i] == level].mean() for i in both]) for level in (one, 0)]
    if len(both) == 1:
        return 0.5 if pair[0] > pair[1] else 1.0  # SciPy wants two people; one has two orders
    test = stats.permutation_test(
        pair, lambda high, low, axis: np.mean(high - low, axis=axis), permutation_type="samples", alternative="greater",
        vectorized=True, n_resamples=max(num_permutations, 2), rng=np.random.default_rng(seed),
    )  # fmt: skip
    return float(test.pvalue)


def _correlate(table, data_share, orders):
    """Mean over people of Spearman's correlation of value and dose, for each order: [R]; people whose values tie count 0."""
    ranks, steps = stats.rankdata(table, axis=1), stats.rankdata(data_share, axis=1)
    ranks, steps = (r - r.mean(1, keepdims=True) for r in (ranks, steps))
    norm = np.sqrt((ranks**2).sum(1) * (steps**2).sum(1))
    with np.errstate(invalid="ignore", divide="ignore"):
        each = np.einsum("prg,pg->pr", ranks[:, orders], steps) / norm[:, None]
    return np.nan_to_num(each).mean(0)


def _count_reached(statistics, num_orders):
    """Share of the orders, the one that was seen among them, whose statistic reaches that one's, but for rounding."""
    return float((statistics >= statistics[0] - 1e-9).sum() / num_orders)
