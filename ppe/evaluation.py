"""From scores to the study's rows: which photos are members under which GAN, controls, tables over runs.

A run has three GANs, one a group of people. GAN a is attacked with photos of groups a (members) and b (non-members), GAN
b the other way round. GAN c saw nobody of either and is the judged control ("disjoint").
"""

import itertools

import numpy as np
import pandas as pd

from ppe.attacks import ATTACKS, aggregate_scores
from ppe.metrics import compare_halves, compare_sizes, compute_roc
from ppe.params import load_table

HALVES = "ab"
METRICS = ("auc", "average_precision", "tpr_at_fpr_1e-1")
CONTROLS = {"none": "{half}", "disjoint": "c", "copy_machine": "train-{half}"}
"""Control -> the set of faces that stands for "generated" when a half is scored; ``none`` is the attack itself."""
RUN_COLUMNS = ["dataset", "resolution", "gan", "num_identities", "train_photos", "seed", "num_generated"]
KEYS = ["embedder", "attack", "membership", "level", "aggregate", "control", "slice"]
HEADLINE = {"attack": "identity", "membership": "identity", "level": "photo", "control": "none", "half": "pooled"}


def score_photos(photos, query, generated, attacks, embedder=""):
    """Score every photo against every set of faces by every attack.

    Parameters
    ----------
    photos : DataFrame, N rows: image_id, identity, group, role (train or query).
    query : dict of arrays with N rows, by the keywords of ``ppe.attacks`` (``query_embeddings``, ``query_faces``).
    generated : dict, name of a set -> dict of arrays by keyword (``generated_embeddings``, ``generated_faces``).
    attacks : sequence of str, names from ``ppe.attacks.ATTACKS``.
    embedder : str, written into the table; empty for attacks that use none.

    Returns
    -------
    DataFrame: the columns of ``photos``, generator (name of the set), embedder, attack, score (large = member).
    """
    parts = []
    for (name, arrays), attack in itertools.product(generated.items(), attacks):
        score = np.asarray(ATTACKS[attack](**query, **arrays), np.float64)
        parts.append(photos.assign(generator=name, embedder=embedder, attack=attack, score=score))
    return pd.concat(parts, ignore_index=True)


def select_queries(scores, members, membership, control="none"):
    """Pick the photos that an attack is judged on, and say which of them are members.

    Parameters
    ----------
    scores : DataFrame of ``score_photos``, one attack and one embedder.
    members : DataFrame, written by the trainer: group, image_id, identity of every photo that a GAN was shown.
    membership : str
        ``identity``: unseen photos of members against unseen photos of non-members (the paper's);
        ``image``: train photos of members against unseen photos of non-members.
    control : str, key of ``CONTROLS``.

    Returns
    -------
    DataFrame: half, identity, is_member (bool), score, as ``ppe.metrics`` takes it.
    """
    parts = []
    for half in HALVES:
        rows = scores[scores.generator == CONTROLS[control].format(half=half)]
        shown = members[members.group == half]
        is_member = rows.identity.isin(shown.identity)
        is_train = rows.image_id.isin(members.image_id)
        wanted_train = is_member if membership == "image" else False
        kept = is_train == wanted_train
        # What the trainer wrote decides: a photo that it lists is never a query, whatever the split says.
        parts.append(rows[kept].assign(half=half, is_member=is_member[kept]))
    return pd.concat(parts, ignore_index=True)[["half", "identity", "is_member", "score"]]


def aggregate_queries(queries, how):
    """One score a person and half: ``mean`` or ``largest`` of its photos' scores; the same columns as the queries."""
    parts = []
    for half, part in queries.groupby("half"):
        member = part.groupby("identity").is_member.first()
        people, score = aggregate_scores(part.score.to_numpy(), part.identity.to_numpy(), how)
        parts.append(pd.DataFrame({"half": half, "identity": people, "is_member": member[people].to_numpy(), "score": score}))
    return pd.concat(parts, ignore_index=True)


def evaluate_scores(scores, members, *, num_resamples, num_permutations, seed=0):
    """Judge every attack of a run: both memberships, per photo and per person, with the controls.

    Returns
    -------
    DataFrame, a row a number: embedder, attack, membership, level, aggregate, control, slice, half, metric, value, low,
    high, p_value, num_members, num_non_members.
    """
    settings = {"num_resamples": num_resamples, "num_permutations": num_permutations, "seed": seed}
    cases = [("identity", "none"), ("image", "none"), ("identity", "disjoint"), ("identity", "copy_machine")]
    parts = []
    for (embedder, attack), table in scores.groupby(["embedder", "attack"], sort=False):
        for membership, control in cases:
            queries = select_queries(table, members, membership, control)
            levels = {("photo", ""): queries}
            if control == "none":
                levels |= {("person", how): aggregate_queries(queries, how) for how in ("mean", "largest")}
            for (level, aggregate), part in levels.items():
                rows = compare_halves(part, METRICS, pooled=control != "disjoint", **settings)
                keys = (embedder, attack, membership, level, aggregate, control, "all")
                parts.append(rows.assign(**dict(zip(KEYS, keys, strict=True))))
    return pd.concat(parts, ignore_index=True)


def describe_rows(rows, run, settings):
    """Put the run's name and settings before its rows, in the study's column order."""
    head = pd.DataFrame({"run": run, **{name: settings[name] for name in RUN_COLUMNS}}, index=rows.index)
    table = pd.concat([head, rows], axis=1)
    order = ["run", *RUN_COLUMNS[:-1], "half", *KEYS, "num_generated", "metric", "value", "low", "high", "p_value"]
    return table[[*order, "num_members", "num_non_members"]]


def hide_names(scores):
    """The scores without a name in them: people become their group and a number, photos go; safe to commit.

    Returns a DataFrame: person, group, role, generator, embedder, attack, score.
    """
    order = {identity: rank for rank, identity in enumerate(dict.fromkeys(scores.identity))}
    person = scores.group + (scores.identity.map(order) + 1).astype(str).str.zfill(3)
    return scores.assign(person=person)[["person", "group", "role", "generator", "embedder", "attack", "score"]]


def restore_queries(hidden, membership="identity", control="none"):
    """``select_queries`` for a table of ``hide_names``: group and role stand for what the trainer wrote."""
    scores = hidden.assign(identity=hidden.person, image_id=hidden.person + hidden.role)
    members = scores[scores.role == "train"][["group", "image_id", "identity"]].drop_duplicates()
    return select_queries(scores, members, membership, control)


def judge_control(rows, judged_p):
    """Whether the judged control failed: GAN c, who saw nobody, must not tell the halves apart.

    Returns (failed, p): p is the smallest permutation p-value of the halves over the embedders (identity attack, identity
    membership, per photo); failed where p < ``judged_p``.
    """
    judged = {**HEADLINE, "control": "disjoint", "metric": "auc"}
    del judged["half"]
    p = _match(rows, **judged).p_value.min()
    return bool(p < judged_p), float(p)


def collect_rows(files, scores):
    """Gather the rows of all runs, in the order of params.yaml.

    Parameters
    ----------
    files : dict, run -> path of its rows.
    scores : dict, run -> DataFrame of ``hide_names``. Differences between sizes come from them: rows whose metric is
        ``auc_difference`` and whose ``versus`` names the larger run.

    Raises
    ------
    FileNotFoundError
        If a run has no rows yet; rows of runs that params.yaml no longer names are left alone.
    """
    missing = [run for run, path in files.items() if not path.exists()]
    if missing:
        raise FileNotFoundError(f"no rows of the runs {missing}: make them with `dvc repro attack@{missing[0]}`")
    rows = pd.concat([load_table(path) for path in files.values()], ignore_index=True).assign(versus="")
    rows[KEYS] = rows[KEYS].fillna("").astype(str)
    return pd.concat([rows, *_compare_sizes(rows, scores)], ignore_index=True)


def _compare_sizes(rows, scores):
    """Rows of the difference between runs that differ in the number of people alone."""
    runs = rows.drop_duplicates("run").set_index("run")
    parts = []
    for first, second in itertools.combinations(runs.index, 2):
        same = [c for c in RUN_COLUMNS if c != "num_identities"]
        if (runs.loc[first, same] != runs.loc[second, same]).any() or runs.num_identities[first] == runs.num_identities[second]:
            continue
        first, second = sorted((first, second), key=lambda run: runs.num_identities[run])
        for embedder in rows[rows.run == first].query("attack == 'identity'").embedder.unique():
            pair = [
                restore_queries(s[(s.attack == "identity") & (s.embedder == embedder)]) for s in (scores[first], scores[second])
            ]
            row = _match(rows[rows.run == first], **HEADLINE, metric="auc", embedder=embedder).iloc[:1]
            parts.append(row.assign(**compare_sizes(*pair), p_value=np.nan, versus=second))
    return parts


def select_headline(rows, run):
    """The row of a run's first number: identity attack, identity membership, per photo, pooled, first embedder, AUC."""
    return _match(rows[rows.run == run], **HEADLINE, metric="auc").iloc[0]


def compute_headlines(rows, runs, judged_p):
    """The few numbers a run that ``dvc metrics show`` prints: a nested dict, run -> name -> number."""
    headlines = {}
    for run in runs:
        part = rows[rows.run == run]
        row = select_headline(part, run)
        other = {**HEADLINE, "metric": "auc", "embedder": row.embedder}
        values = {
            "identity_auc": row.value,
            "identity_auc_low": row.low,
            "identity_auc_high": row.high,
            "identity_auc_person": _match(part, **{**other, "level": "person", "aggregate": "mean"}).value.iloc[0],
            "identity_tpr_at_fpr_1e-1": _match(part, **{**other, "metric": "tpr_at_fpr_1e-1"}).value.iloc[0],
            "image_auc": _match(part, **{**other, "membership": "image"}).value.iloc[0],
            "pixel_identity_auc": _match(part, **{**other, "attack": "pixel", "embedder": ""}).value.iloc[0],
            "ceiling_auc": _match(part, **{**other, "control": "copy_machine"}).value.iloc[0],
            "control_p_value": judge_control(part, judged_p)[1],
        }
        headlines[run] = {name: None if pd.isna(v) else round(float(v), 4) for name, v in values.items()}
        headlines[run]["control_failed"] = judge_control(part, judged_p)[0]
    return headlines


def compute_roc_curves(scores):
    """ROC points of the identity attack per photo, each half, for the attack and for the judged control.

    scores : dict, run -> DataFrame of ``hide_names``. Returns a DataFrame: run, control, half, fpr, tpr.
    """
    parts = []
    for run, hidden in scores.items():
        table = hidden[hidden.attack == "identity"]
        table = table[table.embedder == table.embedder.iloc[0]]
        for control in ("none", "disjoint"):
            for half, queries in restore_queries(table, control=control).groupby("half"):
                roc = compute_roc(queries.score.to_numpy(), queries.is_member.to_numpy())
                parts.append(roc[["fpr", "tpr"]].assign(run=run, control=control, half=half))
    return pd.concat(parts, ignore_index=True)[["run", "control", "half", "fpr", "tpr"]]


def _match(rows, **wanted):
    for column, value in wanted.items():
        rows = rows[rows[column] == value]
    return rows
