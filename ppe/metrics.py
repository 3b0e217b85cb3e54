"""ROC, TPR at low FPR, intervals and p-values whose unit is the person, and the Fréchet distance: how an identity
membership attack (Webster et al., arXiv 2107.06018) is judged.

What is judged is a table ``queries``, one row a score: ``half`` (which GAN gave the score), ``identity``, ``is_member``
(in that GAN's training set) and ``score`` (large = member). A person of group a is a member for GAN a and a non-member
for GAN b, so each person carries both roles and both GANs are resampled together. Scores of two GANs are never compared
with one another: *pooled* is the mean of the two halves' values. Tables of one half, and tables of one row a person
(``attacks.aggregate_scores``), go through the same functions.

The AUC is a share of (member photo, non-member photo) pairs. So all that a resample of people needs is one matrix a
half, wins[p, q]: the number of pairs that photos of person p win against photos of person q. A resample in which person
p stands counts[p] times has AUC counts @ wins @ counts / (its pairs): two thousand of them are one matrix product.
(This file is longer than others since these functions share that one idea.)
"""

import numpy as np
import pandas as pd
from scipy import linalg, stats
from scipy.special import expit, logit
from sklearn.metrics import average_precision_score, roc_auc_score, roc_curve

MIN_VERIFICATION_AUC = 0.90
"""A net that tells people apart less well than this, at the GAN's resolution, is shown and not used for verdicts."""
MIN_PEOPLE = 10  # people a side; below, an interval is (nan, nan) and only several seeds tell more
MIN_CEILING = 0.55  # AUC; under a lower ceiling there is next to nothing to have a share of
NO_SPREAD = 1e-12  # what rounding leaves of a difference of metrics that is 0


# ---- One set of scores -----------------------------------------------------------------------------------------------


def compute_auc(score, is_member):
    """Compute the area under the ROC curve: the share of (member, non-member) pairs in order; a tie is half a pair.

    Parameters
    ----------
    score : ndarray [N], float. Large = member.
    is_member : ndarray [N], bool.

    Returns
    -------
    auc : float, in [0, 1]; 0.5 is chance. NaN where one of the two classes is empty.

    Raises
    ------
    ValueError
        If the lengths differ, a score is not finite or ``is_member`` is not bool.
    """
    score, is_member = _check_scores(score, is_member)
    return float(roc_auc_score(is_member, score)) if is_member.any() and not is_member.all() else np.nan


def compute_average_precision(score, is_member):
    """Compute the mean precision over members, best score first; parameters and raises as in ``compute_auc``.

    Returns
    -------
    average_precision : float, in [0, 1]; the share of members is chance. NaN where one of the two classes is empty.
    """
    score, is_member = _check_scores(score, is_member)
    return float(average_precision_score(is_member, score)) if is_member.any() and not is_member.all() else np.nan


def compute_roc(score, is_member):
    """Compute every point of the ROC curve; parameters and raises as in ``compute_auc``.

    Returns
    -------
    roc : DataFrame
        ``fpr``, ``tpr`` and ``threshold`` (a score; at or above it means member), from threshold infinity at (0, 0)
        down to (1, 1). Equal scores are one point. No rows where one of the two classes is empty.
    """
    score, is_member = _check_scores(score, is_member)
    if not is_member.any() or is_member.all():
        return pd.DataFrame({name: pd.Series(dtype=float) for name in ("fpr", "tpr", "threshold")})
    fpr, tpr, threshold = roc_curve(is_member, score, drop_intermediate=False)
    return pd.DataFrame({"fpr": fpr, "tpr": tpr, "threshold": threshold})


def compute_tpr_at_fpr(score, is_member, fpr, num_non_member_people):
    """Compute the largest TPR of a threshold whose FPR is at most ``fpr``; never interpolated.

    Members that share their score with a non-member are found only at a threshold that lets that non-member in too.

    Parameters
    ----------
    score, is_member : as in ``compute_auc``.
    fpr : float, in (0, 1).
    num_non_member_people : int
        Distinct people among the non-members; n people resolve 1 / n, however many photos they have.

    Returns
    -------
    tpr : float, in [0, 1]; ``fpr`` is chance. NaN where ``fpr`` < 1 / ``num_non_member_people`` or a class is empty.

    Raises
    ------
    ValueError
        As ``compute_auc``, or if ``fpr`` is not between 0 and 1.
    """
    if not 0 < fpr < 1:
        raise ValueError(f"fpr={fpr} is not between 0 and 1")
    roc = compute_roc(score, is_member)
    if roc.empty or num_non_member_people < 1 or fpr < 1 / num_non_member_people:
        return np.nan
    return float(roc.loc[roc["fpr"] <= fpr, "tpr"].max())


FPR_OF = {"tpr_at_fpr_1e-1": 1e-1, "tpr_at_fpr_1e-2": 1e-2, "tpr_at_fpr_1e-3": 1e-3}
METRICS = ("auc", "average_precision", *FPR_OF)


# ---- Two halves, with the person as the unit -------------------------------------------------------------------------


def compare_halves(queries, metrics=("auc",), *, pooled=True, num_resamples=2000, num_permutations=2000, seed=0):
    """Judge an attack on each half and pooled: the rows that a run adds to the study's table.

    Parameters
    ----------
    queries : DataFrame. ``half``, ``identity``, ``is_member`` (bool), ``score`` (large = member).
    metrics : sequence of str. Names of ``METRICS``.
    pooled : bool
        False leaves the pooled row out: where one generator scores both halves (the disjoint control) the second half
        mirrors the first, and their mean is 0.5 whatever the generator does.
    num_resamples, num_permutations, seed : as in ``bootstrap_people`` and ``permute_people``.

    Returns
    -------
    table : DataFrame
        For each half, then ``pooled``, a row a metric: ``half``, ``metric``, ``value``, ``low``, ``high``, ``p_value``
        (of the AUC, else NaN), ``num_members``, ``num_non_members``, as the two functions return them.

    Raises
    ------
    ValueError
        As ``resample_people``.
    """
    parts = list(queries.groupby("half", sort=True))
    if pooled and len(parts) > 1:
        parts.append(("pooled", queries))
    rows = []
    for half, part in parts:
        for metric in metrics:
            interval = bootstrap_people(part, metric, num_resamples=num_resamples, seed=seed)
            row = {"half": half, **interval, "p_value": np.nan}
            if metric == "auc":
                row["p_value"] = permute_people(part, num_permutations=num_permutations, seed=seed)["p_value"]
            rows.append(row)
    return pd.DataFrame(
        rows, columns=["half", "metric", "value", "low", "high", "p_value", "num_members", "num_non_members"]
    )


def resample_people(queries, metric="auc", *, num_resamples=2000, seed=0):
    """Draw people with replacement, a group at a time, and compute the metric of each draw: its mean over the halves.

    The draws depend on the people, their groups and the seed alone: two attacks on the same people are resampled alike.

    Parameters
    ----------
    queries : DataFrame. ``half``, ``identity``, ``is_member`` (bool), ``score`` (large = member).
    metric : str. One of ``METRICS``.
    num_resamples, seed : int

    Returns
    -------
    value : float. Of the queries as they are; large = the attack works. NaN where the metric is not defined.
    samples : ndarray [num_resamples], float64.

    Raises
    ------
    ValueError
        If a column is missing or of the wrong kind, a score is not finite, the metric is unknown, or the people are of
        more than two kinds (say, one has photos in one half only, so that there is no resampling both halves alike).
    """
    if metric not in METRICS:
        raise ValueError(f"metric={metric!r} is not one of {list(METRICS)}")
    halves, group = _arrange(queries)
    rng = np.random.default_rng(seed)
    counts = np.ones((1 + num_resamples, len(group)))  # row 0: everybody once
    for people in (np.flatnonzero(group == g) for g in range(group.max() + 1)):
        counts[1:, people] = rng.multinomial(len(people), np.full(len(people), 1 / len(people)), num_resamples)
    values = np.mean([_weigh_half(*half, counts, metric) for half in halves], axis=0)
    return float(values[0]), values[1:]


def bootstrap_people(queries, metric="auc", *, num_resamples=2000, confidence=0.95, seed=0):
    """Compute a metric, pooled over the halves in ``queries``, and its interval by bootstrap over people.

    The interval is symmetric on the logit scale: logit(value) +- t * s / (value * (1 - value)), where s is the standard
    deviation of the resamples (Efron and Tibshirani 1993) times sqrt(n / (n - 1)), since a resample of n people spreads
    too little, and t is Student's with n - 1 degrees of freedom a group, n being the people of the smaller one.

    At value 0 or 1 nothing spreads, and the interval is one-sided (Clopper and Pearson 1934): n disjoint pairs of a
    member and a non-member are independent, all in order with probability AUC^n, so that an AUC below
    (1 - confidence)^(1/n) is refused. The same holds for the TPR and n people of whom all are found, or none.

    Parameters
    ----------
    queries, metric, num_resamples, seed : as in ``resample_people``.
    confidence : float, in (0, 1).

    Returns
    -------
    row : dict
        ``metric``, ``value``, ``low``, ``high`` (NaN below 10 people a side, where nothing spreads between 0 and 1, as
        when all scores are equal, and for an average precision of 1), ``num_members``, ``num_non_members`` (people; of
        the half that has fewest).

    Raises
    ------
    ValueError
        As ``resample_people``.
    """
    value, samples = resample_people(queries, metric, num_resamples=num_resamples, seed=seed)
    halves, group = _arrange(queries)
    num_people, scale, quantile = _measure_groups(group, confidence)
    low = high = np.nan
    is_at_end = min(value, 1 - value) < NO_SPREAD
    if num_people >= MIN_PEOPLE and is_at_end and metric != "average_precision":
        bound = (1 - confidence) ** (1 / num_people)
        low, high = (bound, 1.0) if value > 0.5 else (0.0, 1 - bound)
    elif num_people >= MIN_PEOPLE and not is_at_end and num_resamples > 1 and np.std(samples) > NO_SPREAD:
        reach = quantile * scale * np.std(samples, ddof=1) / (value * (1 - value))
        low, high = expit(logit(value) - reach), expit(logit(value) + reach)
    return {"metric": metric, "value": value, "low": float(low), "high": float(high), **_count_people(halves)}


def permute_people(queries, *, num_permutations=2000, seed=0):
    """Test that the AUC, pooled over the halves in ``queries``, is larger than chance, by reassigning people to groups.

    Group labels are shuffled over whole people: each keeps its scores under every GAN, and its role in all halves
    changes with its label. Where people are both member and non-member of one half (which of their photos were trained
    on?), each person's photos are shuffled instead.

    Parameters
    ----------
    queries : as in ``resample_people``.
    num_permutations, seed : int

    Returns
    -------
    row : dict
        ``metric``, ``value``, ``p_value``: (1 + shuffles that reach the value) / (1 + shuffles) (Phipson and Smyth
        2010), one-sided, small = larger than chance; NaN where the AUC is; ``num_members``, ``num_non_members``
        (people).

    Raises
    ------
    ValueError
        As ``resample_people``.
    """
    halves, group = _arrange(queries)
    values = _permute_values(halves, group, num_permutations, np.random.default_rng(seed))
    value = resample_people(queries, num_resamples=0)[0]
    reached = np.sum(values[1:] >= values[0] - 1e-9)  # equal but for rounding counts as reached
    p_value = (1 + reached) / (1 + num_permutations) if np.isfinite(value) else np.nan
    return {"metric": "auc", "value": value, "p_value": float(p_value), **_count_people(halves)}


def compare_sizes(first, second, metric="auc", *, num_resamples=2000, confidence=0.95, seed=0):
    """Compute the interval of the difference between two runs on different people, say of two sizes.

    Each run's own bootstrap interval is combined with the other's by the squares of their arms (MOVER, Zou and Donner
    2008), which keeps them as uneven as they are near 0 and 1. Where the runs share people (sizes are nested) their
    values move together, and the interval is wider than it needs to be.

    Parameters
    ----------
    first, second : DataFrame. Queries of the two runs, as in ``resample_people``.
    metric, num_resamples, confidence, seed : as in ``bootstrap_people``.

    Returns
    -------
    row : dict
        ``metric`` (with ``_difference``), ``value``: first minus second; ``low``, ``high`` (NaN where one run has no
        interval), ``num_members``, ``num_non_members`` (people; of the smaller run).

    Raises
    ------
    ValueError
        As ``resample_people``.
    """
    settings = {"num_resamples": num_resamples, "confidence": confidence, "seed": seed}
    one, two = (bootstrap_people(queries, metric, **settings) for queries in (first, second))
    value = one["value"] - two["value"]
    low = value - np.hypot(one["value"] - one["low"], two["high"] - two["value"])
    high = value + np.hypot(one["high"] - one["value"], two["value"] - two["low"])
    fewest = {name: min(one[name], two[name]) for name in ("num_members", "num_non_members")}
    return {"metric": f"{metric}_difference", "value": value, "low": float(low), "high": float(high), **fewest}


def compare_attacks(first, second, metric="auc", *, num_resamples=2000, confidence=0.95, seed=0):
    """Compute the interval of the difference between two attacks on the same queries, resampled alike.

    Parameters
    ----------
    first, second : DataFrame
        Queries as in ``resample_people``, alike row by row but for ``score``.
    metric, num_resamples, confidence, seed : as in ``bootstrap_people``.

    Returns
    -------
    row : dict
        ``metric`` (with ``_difference``), ``value``: first minus second; ``low``, ``high``: value +- t * s as in
        ``bootstrap_people`` but on the plain scale (NaN below 10 people a side and where no resample changes the
        difference), ``num_members``, ``num_non_members`` (people).

    Raises
    ------
    ValueError
        As ``resample_people``, or if the two are not on the same queries.
    """
    halves, group = _arrange(first)
    for name in ("half", "identity", "is_member"):
        if list(first[name]) != list(second[name]):
            raise ValueError(f"the two attacks differ in the column {name!r}: score the same queries in the same order")
    (value_1, samples_1), (value_2, samples_2) = (
        resample_people(queries, metric, num_resamples=num_resamples, seed=seed) for queries in (first, second)
    )
    num_people, scale, quantile = _measure_groups(group, confidence)
    value, samples = value_1 - value_2, samples_1 - samples_2
    low = high = np.nan
    if num_people >= MIN_PEOPLE and num_resamples > 1 and np.std(samples) > NO_SPREAD:
        reach = quantile * scale * np.std(samples, ddof=1)
        low, high = max(-1.0, value - reach), min(1.0, value + reach)
    row = {"metric": f"{metric}_difference", "value": value, "low": float(low), "high": float(high)}
    return {**row, **_count_people(halves)}


def compare_ceiling(queries, ceiling, *, num_resamples=2000, confidence=0.95, seed=0):
    """Compute which share of the ceiling a leak reaches: (AUC - 0.5) / (ceiling - 0.5), both resampled alike.

    Parameters
    ----------
    queries, ceiling : DataFrame
        As in ``compare_attacks``: the attack, and the same photos held against what gives their people away at best.
    num_resamples, confidence, seed : as in ``bootstrap_people``.

    Returns
    -------
    row : dict
        ``metric`` leak_share, ``value`` (1: as much as this embedder can find; 0: none; NaN under a ceiling of 0.55),
        ``low``, ``high``: value +- t * s
        as in ``compare_attacks`` (NaN below 10 people a side, or where a resample's ceiling is chance), and the people.

    Raises
    ------
    ValueError
        As ``compare_attacks``.
    """
    row = compare_attacks(queries, ceiling, num_resamples=0, seed=seed)
    (value_1, samples_1), (value_2, samples_2) = (
        resample_people(table, num_resamples=num_resamples, seed=seed) for table in (queries, ceiling)
    )
    num_people, scale, quantile = _measure_groups(_arrange(queries)[1], confidence)
    value = (value_1 - 0.5) / (value_2 - 0.5) if value_2 >= MIN_CEILING else np.nan
    low = high = np.nan
    if num_people >= MIN_PEOPLE and num_resamples > 1 and np.isfinite(value) and samples_2.min() > 0.5:
        reach = quantile * scale * np.std((samples_1 - 0.5) / (samples_2 - 0.5), ddof=1)
        low, high = value - reach, value + reach
    return {**row, "metric": "leak_share", "value": float(value), "low": float(low), "high": float(high)}


def permute_often(queries, *, num_shuffles=200, num_permutations=199, num_resamples=200, level=0.05, seed=0):
    """Look for a leak where there is none: how often do the test and the interval find one after people swap groups?

    People's group labels are shuffled on the table itself, outside of what is tested, and the public functions are asked
    again. A test whose unit were the photo would be found out here.

    Parameters
    ----------
    queries : DataFrame as in ``permute_people``, one group of people a half.
    num_shuffles : int. Tables with shuffled labels.
    num_permutations, num_resamples, seed : of the test and of the interval of each.
    level : float. The p-value below which a table counts as found; the interval leaves out as much.

    Returns
    -------
    list of two dicts
        ``metric`` permuted_share (tables with p < ``level``) and permuted_misses (intervals that miss 0.5; NaN below ten
        people a side); ``value``, about ``level`` if sound; ``low``, ``high``: what that many shuffles resolve (Clopper
        and Pearson), not an interval over people; ``num_members``, ``num_non_members`` (people).
    """
    halves, _ = _arrange(queries)
    people = queries["identity"].unique()
    group = queries[queries["is_member"]].drop_duplicates("identity").set_index("identity")["half"].reindex(people)
    rng = np.random.default_rng([seed, 1])
    found, missed = [], []
    for number in range(num_shuffles):
        label = dict(zip(people, rng.permutation(group.to_numpy()), strict=True))
        shuffled = queries.assign(is_member=queries["identity"].map(label) == queries["half"])
        found.append(permute_people(shuffled, num_permutations=num_permutations, seed=number)["p_value"] < level)
        row = bootstrap_people(shuffled, num_resamples=num_resamples, confidence=1 - level, seed=number)
        missed.append(np.nan if np.isnan(row["low"]) else not row["low"] <= 0.5 <= row["high"])
    rows = []
    for metric, hits in (("permuted_share", found), ("permuted_misses", missed)):
        row = {"metric": metric, "value": float(np.mean(hits)), "low": np.nan, "high": np.nan}
        if np.isfinite(row["value"]):
            interval = stats.binomtest(int(np.sum(hits)), num_shuffles).proportion_ci(0.95)
            row |= {"low": float(interval.low), "high": float(interval.high)}
        rows.append({**row, **_count_people(halves)})
    return rows


def _permute_own(score, person, is_member, num_permutations, rng):
    """AUC of each person's own photos, member against non-member, as they are (row 0) and shuffled within the person."""
    won, pairs = np.zeros(1 + num_permutations), 0
    for p in np.unique(person):
        own = person == p
        inside = int(is_member[own].sum())
        rank = stats.rankdata(score[own])
        first = np.concatenate([rank[is_member[own]], rank[~is_member[own]]])
        ranks = rng.permuted(np.tile(first, (1 + num_permutations, 1)), axis=1)
        ranks[0] = first
        won += ranks[:, :inside].sum(1) - inside * (inside + 1) / 2
        pairs += inside * (len(rank) - inside)
    return won / pairs if pairs else np.full(1 + num_permutations, np.nan)


def _permute_values(halves, group, num_permutations, rng):
    """AUC, mean over the halves, of the people as they are (row 0) and under shuffled group labels."""
    if _has_both_roles(halves):
        return np.mean([_permute_own(*half, num_permutations, rng) for half in halves], axis=0)
    order = rng.permuted(np.tile(np.arange(len(group)), (1 + num_permutations, 1)), axis=1)
    order[0] = np.arange(len(group))
    values = np.zeros(1 + num_permutations)
    for score, person, is_member in halves:
        role = np.zeros(len(group))
        role[person[is_member]] = 1
        everybody = np.ones(len(score), dtype=bool)
        values += _weigh_pairs(score, person, everybody, everybody, role[order], 1 - role[order]) / len(halves)
    return values


def _arrange(queries):
    """Check ``queries``; return one (score, person number, is_member) a half, and each person's group number [P]."""
    columns = ["half", "identity", "is_member", "score"]
    if missing := [name for name in columns if name not in queries]:
        raise ValueError(f"queries have no column {missing}; {columns} are needed")
    _check_scores(queries["score"], queries["is_member"])
    person, _ = pd.factorize(queries["identity"], sort=True)
    if len(person) == 0 or person.min() < 0:
        raise ValueError("queries are empty or have a row without an identity; each row needs one")
    half, names = pd.factorize(queries["half"], sort=True)
    score, is_member = queries["score"].to_numpy(np.float64), queries["is_member"].to_numpy(bool)

    # People of one group have the same roles: a is member for GAN a and non-member for GAN b, b the other way round.
    roles = np.zeros((person.max() + 1, len(names), 2), dtype=bool)
    roles[person, half, is_member.astype(int)] = True
    kinds, group = np.unique(roles.reshape(len(roles), -1), axis=0, return_inverse=True)
    if len(kinds) > 2:
        raise ValueError(f"people have {len(kinds)} different sets of roles in the halves, but two groups have at most "
                         "2: score everybody in both halves")
    halves = [(score[half == h], person[half == h], is_member[half == h]) for h in range(len(names))]
    return halves, pd.factorize(group.reshape(-1))[0]  # the first person's group is 0, whichever role it has


def _weigh_half(score, person, is_member, counts, metric):
    """Compute the metric where person p stands ``counts[r, p]`` times: [R]."""
    num_people = len(np.unique(person[~is_member]))
    if is_member.all() or not is_member.any() or FPR_OF.get(metric, 1) < 1 / num_people:
        return np.full(len(counts), np.nan)
    if metric == "auc" and _has_both_roles([(score, person, is_member)]):
        won, pairs = _count_own_pairs(score, person, is_member, counts.shape[1])
        with np.errstate(invalid="ignore"):  # nobody drawn has a pair
            return (counts @ won) / (counts @ pairs)
    if metric == "auc":
        return _weigh_pairs(score, person, is_member, ~is_member, counts, counts)

    # Walk down the scores; equal ones are one threshold. Rows go in parts, so that memory does not grow with R * N.
    order = np.argsort(-score, kind="stable")
    person, is_member = person[order], is_member[order]
    ends = np.flatnonzero(np.append(np.diff(score[order]) != 0, True))
    values = []
    for part in np.array_split(counts, 1 + counts.shape[0] * len(score) // 2**20):
        weight = part[:, person]
        found = np.cumsum(weight * is_member, axis=1)[:, ends]
        false = np.cumsum(weight * ~is_member, axis=1)[:, ends]
        if metric == "average_precision":
            gained = np.diff(found, axis=1, prepend=0) / found[:, -1:]
            values.append((gained * found / np.maximum(found + false, 1)).sum(1))
        else:
            is_allowed = false / false[:, -1:] <= FPR_OF[metric]
            values.append((found * is_allowed).max(1) / found[:, -1])
    return np.concatenate(values)


def _count_own_pairs(score, person, is_member, num_people):
    """(pairs won, pairs) of each person's own photos, member against non-member: [P] each."""
    won, pairs = np.zeros(num_people), np.zeros(num_people)
    for p in np.unique(person):
        inside, outside = score[(person == p) & is_member], score[(person == p) & ~is_member]
        pairs[p] = len(inside) * len(outside)
        won[p] = ((inside[:, None] > outside) + 0.5 * (inside[:, None] == outside)).sum()
    return won, pairs


def _weigh_pairs(score, person, is_left, is_right, left_weight, right_weight):
    """Compute the AUC of the photos ``is_left`` against ``is_right`` for weights [R, P] of the people on both sides."""
    num_people = left_weight.shape[1]
    left_score, left_person = score[is_left], person[is_left]
    wins = np.zeros((num_people, num_people))
    for q in np.unique(person[is_right]):
        other = np.sort(score[is_right & (person == q)])
        won = (np.searchsorted(other, left_score, "left") + np.searchsorted(other, left_score, "right")) / 2
        wins[:, q] = np.bincount(left_person, won, num_people)
    num_left, num_right = (np.bincount(person[side], minlength=num_people) for side in (is_left, is_right))
    with np.errstate(invalid="ignore"):  # 0 / 0 pairs is NaN
        return ((left_weight @ wins) * right_weight).sum(1) / ((left_weight @ num_left) * (right_weight @ num_right))


def _measure_groups(group, confidence):
    """Return the people of the smaller group, the bootstrap's small-sample factor, and Student's quantile."""
    if not 0 < confidence < 1:
        raise ValueError(f"confidence={confidence} is not between 0 and 1")
    sizes = np.bincount(group)
    num_people = int(sizes.min())
    free = max(1, num_people - 1)
    return num_people, np.sqrt(num_people / free), stats.t.ppf((1 + confidence) / 2, len(sizes) * free)


def _count_people(halves):
    members = [len(np.unique(person[is_member])) for _, person, is_member in halves]
    non_members = [len(np.unique(person[~is_member])) for _, person, is_member in halves]
    return {"num_members": min(members), "num_non_members": min(non_members)}


def _has_both_roles(halves):
    return any(np.intersect1d(person[is_member], person[~is_member]).size for _, person, is_member in halves)


def _check_scores(score, is_member):
    score, is_member = np.asarray(score), np.asarray(is_member)
    if score.ndim != 1 or score.shape != is_member.shape:
        raise ValueError(f"score {list(score.shape)} and is_member {list(is_member.shape)} must be lists of one length")
    if is_member.dtype != bool:
        raise ValueError(f"is_member is {is_member.dtype}, but bool is needed")
    if num_bad := int((~np.isfinite(score.astype(np.float64))).sum()):
        raise ValueError(f"{num_bad} of {len(score)} scores are not finite numbers")
    return score, is_member


# ---- Generated faces against real ones -------------------------------------------------------------------------------


def compute_frechet_distance(mean1, cov1, mean2, cov2):
    """Compute the squared Fréchet distance of two Gaussians (Dowson and Landau 1982; as FID: Heusel et al. 2017).

    |mean1 - mean2|^2 + tr(cov1 + cov2 - 2 (cov1 cov2)^(1/2)). The root's trace is taken from the eigenvalues of the
    symmetric cov1^(1/2) cov2 cov1^(1/2), which are real also where a covariance has not full rank.

    Parameters
    ----------
    mean1, mean2 : ndarray [D], float.
    cov1, cov2 : ndarray [D, D], float. Symmetric, no negative eigenvalue.

    Returns
    -------
    distance : float, at least 0, in squared units of the embedding; small = similar.

    Raises
    ------
    ValueError
        If a shape is wrong or a number is not finite.
    """
    mean1, cov1, mean2, cov2 = (np.asarray(x, dtype=np.float64) for x in (mean1, cov1, mean2, cov2))
    size = mean1.size
    if not (mean1.shape == mean2.shape == (size,) and cov1.shape == cov2.shape == (size, size)):
        raise ValueError(f"means {list(mean1.shape)}, {list(mean2.shape)} and covariances {list(cov1.shape)}, "
                         f"{list(cov2.shape)} must be [D] and [D, D] with one D")
    if not all(np.isfinite(x).all() for x in (mean1, cov1, mean2, cov2)):
        raise ValueError("a mean or covariance is not finite: at least two embeddings a side are needed")
    eigenvalues, eigenvectors = linalg.eigh(cov1)
    root = eigenvectors * np.sqrt(eigenvalues.clip(0)) @ eigenvectors.T  # clip: rounding leaves -1e-17 for 0
    trace_of_root = np.sqrt(linalg.eigvalsh(root @ cov2 @ root).clip(0)).sum()
    distance = ((mean1 - mean2) ** 2).sum() + np.trace(cov1) + np.trace(cov2) - 2 * trace_of_root
    return max(0.0, float(distance))
