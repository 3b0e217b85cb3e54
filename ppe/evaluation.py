"""From scores to the study's rows: which photos are members under which GAN, controls, tables over runs.

A run has three GANs, one a group of people. GAN a is attacked with photos of groups a (members) and b (non-members), GAN
b the other way round. GAN c saw nobody of either and is the judged control ("disjoint").
"""

import itertools

import numpy as np
import pandas as pd

from ppe.attacks import ATTACKS, aggregate_scores, list_needed
from ppe.metrics import (
    MIN_VERIFICATION_AUC,
    compare_attacks,
    compare_ceiling,
    compare_halves,
    compare_sizes,
    compute_roc,
    permute_often,
)
from ppe.params import load_table

HALVES = "ab"
MEMBERSHIPS = ("identity", "image", "photo_given_person")
AGGREGATES = ("mean", "largest", "majority")
CONTROLS = {
    "none": "{half}",
    "disjoint": "c",
    "untrained": "untrained-{half}",
    "copy_machine": "train-{half}",
    "identity_twin": "twin-{half}",
}
"""Control -> the set of faces that stands for "generated" when a half is scored; ``none`` is the attack itself."""
CEILINGS = ("copy_machine", "identity_twin")
RUN_COLUMNS = [
    "dataset", "resolution", "gan", "num_identities", "train_photos", "query_photos", "kimg", "seed", "num_generated",
]  # fmt: skip
KEYS = ["embedder", "attack", "reference", "membership", "level", "aggregate", "control", "slice", "versus"]
HEADLINE = {
    "attack": "identity", "membership": "identity", "level": "photo", "control": "none", "slice": "all", "versus": "",
    "half": "pooled",
}  # fmt: skip


NO_ROWS = pd.DataFrame(columns=[*KEYS, "half", "metric", "value", "low", "high", "num_members", "num_non_members"])


def score_photos(photos, query, sets, attacks, embedder="", reference=""):
    """Score every photo against every set of faces by every attack that has what it needs.

    Parameters
    ----------
    photos : DataFrame, N rows: image_id, identity, group, role (train or query).
    query : dict of arrays with N rows, and of constants, by the keywords of ``ppe.attacks``.
    sets : dict, name of a set -> dict of arrays by keyword. An attack that needs an array which neither has is not defined
        on that set and is left out there.
    attacks : sequence of str, names from ``ppe.attacks.ATTACKS``.
    embedder, reference : str, written into the table; empty for attacks that use none.

    Returns
    -------
    DataFrame: the columns of ``photos``, generator (name of the set), embedder, attack, reference, score (large = member).
    """
    parts = []
    for (name, arrays), attack in itertools.product(sets.items(), attacks):
        known = {**query, **arrays}
        if set(list_needed(attack)) <= set(known):
            score = np.asarray(ATTACKS[attack](**known), np.float64)
            parts.append(photos.assign(generator=name, embedder=embedder, attack=attack, reference=reference, score=score))
    return pd.concat(parts, ignore_index=True)


def score_twins(photos, embeddings, embedder=""):
    """Score photos against the other unseen photos of a half's people: the ceiling of a leak of the identity alone.

    A member's own photo is left out of the set that it is held against; for everybody else one photo is left out in turn,
    so that all are held against equally many.

    Parameters
    ----------
    photos : DataFrame, N rows, as in ``score_photos``.
    embeddings : Tensor [N, D], float32, unit L2 norm.

    Returns
    -------
    DataFrame as ``score_photos``, of the attack ``identity`` on the sets ``twin-a`` and ``twin-b``; empty where people have
    a single query photo. (With 5 + 5 photos a person is held against 4 own photos here, and 5 by the copy machine.)
    """
    parts = []
    for half in HALVES:
        rows = np.flatnonzero((photos.group == half) & (photos.role == "query"))
        if photos.identity.iloc[rows].value_counts().min() < 2:
            return photos.iloc[:0].assign(generator="", embedder="", attack="", reference="", score=0.0)  # no other photo
        left_out = rows[np.arange(len(photos)) % len(rows)]
        left_out[rows] = rows
        held = (embeddings @ embeddings[rows].T).cpu().numpy().astype(np.float64)
        held[np.arange(len(photos)), np.searchsorted(rows, left_out)] = -np.inf
        named = photos.assign(generator=f"twin-{half}", embedder=embedder, attack="identity", reference="")
        parts.append(named.assign(score=held.max(1)))
    return pd.concat(parts, ignore_index=True)


def select_queries(scores, members, membership, control="none"):
    """Pick the photos that an attack is judged on, and say which of them are members.

    Parameters
    ----------
    scores : DataFrame of ``score_photos``, one attack and one embedder.
    members : DataFrame, written by the trainer: group, image_id, identity of every photo that a GAN was shown.
    membership : str
        ``identity``: unseen photos of members against unseen photos of non-members (the paper's);
        ``image``: train photos of members against unseen photos of non-members;
        ``photo_given_person``: train photos against unseen photos of the same people.
    control : str, key of ``CONTROLS``.

    Returns
    -------
    DataFrame: half, image_id, identity, is_member (bool), score, as ``ppe.metrics`` takes it.
    """
    if membership not in MEMBERSHIPS:
        raise ValueError(f"membership={membership!r} is not one of {list(MEMBERSHIPS)}")
    parts = []
    for half in HALVES:
        rows = scores[scores.generator == CONTROLS[control].format(half=half)]
        shown = members[members.group == half]
        is_member = rows.identity.isin(shown.identity)
        # What the trainer wrote decides: a photo that it lists is never a query, whatever the split says.
        is_train = rows.image_id.isin(members.image_id)
        if membership == "photo_given_person":
            kept, label = is_member, is_train
        else:
            kept, label = is_train == (is_member if membership == "image" else False), is_member
        parts.append(rows[kept].assign(half=half, is_member=label[kept]))
    return pd.concat(parts, ignore_index=True)[["half", "image_id", "identity", "is_member", "score"]]


def aggregate_queries(queries, how):
    """One score a person and half: ``mean``, ``largest`` or ``majority`` of its photos' scores."""
    parts = []
    for half, part in queries.groupby("half"):
        member = part.groupby("identity").is_member.first()
        people, score = aggregate_scores(part.score.to_numpy(), part.identity.to_numpy(), how)
        parts.append(pd.DataFrame({"half": half, "identity": people, "is_member": member[people].to_numpy(), "score": score}))
    return pd.concat(parts, ignore_index=True)


def evaluate_scores(scores, members, *, num_resamples, num_permutations, seed=0):
    """Judge every attack of a run: three memberships, per photo and per person, with the controls and the ceilings.

    The attack ``identity`` is looked at in full; of the others the AUC and the TPR per photo, the AUC per person (mean),
    and the judged control. The permutation control is in the metrics ``permuted_share`` and ``permuted_misses``.

    Returns
    -------
    DataFrame, a row a number: the columns of ``KEYS``, half, metric, value, low, high, p_value, num_members,
    num_non_members.
    """
    settings = {"num_resamples": num_resamples, "num_permutations": num_permutations, "seed": seed}
    parts = []
    for (embedder, attack, reference), table in scores.groupby(["embedder", "attack", "reference"], sort=False):
        key = {"embedder": embedder, "attack": attack, "reference": reference}
        is_main = attack == "identity"
        for membership in MEMBERSHIPS:
            queries = select_queries(table, members, membership)
            metrics = ("auc", "tpr_at_fpr_1e-1", *(["average_precision"] * is_main))
            if membership == "photo_given_person":
                metrics = ("auc",)  # the others would rank photos of different people
            parts.append(judge_queries(queries, metrics, settings, **key, membership=membership))
            for how in AGGREGATES if is_main and membership == "identity" else ("mean",) * (membership == "identity"):
                person = aggregate_queries(queries, how)
                parts.append(judge_queries(person, ("auc", "tpr_at_fpr_1e-1"), settings, **key, level="person", aggregate=how))
        for control in list(CONTROLS)[1:] if is_main else ("disjoint",):
            if table.generator.isin({CONTROLS[control].format(half=half) for half in HALVES}).any():
                queries = select_queries(table, members, "identity", control)
                parts.append(judge_queries(queries, ("auc",), settings, **key, control=control))
        if is_main:
            parts += _judge_ceilings(table, members, settings, key)
            queries = select_queries(table, members, "identity")
            parts.append(label_rows(permute_often(queries, seed=seed), **key, control="permuted"))
    return pd.concat(parts, ignore_index=True)


def compare_attack_rows(scores, members, *, num_resamples, seed=0):
    """Rows of the difference in AUC between ``identity`` and every other attack on the same unseen photos, paired.

    scores, members : as in ``evaluate_scores``. ``metric`` is ``auc_difference`` (identity minus the other), ``versus`` the
    other attack (with its reference). An attack without an embedder is compared with each embedder's.
    """
    parts = []
    tables = dict(list(scores.groupby(["embedder", "attack", "reference"], sort=False)))
    for (embedder, attack, _), table in tables.items():
        for (other_embedder, other, reference), second in tables.items():
            if attack == "identity" and other != "identity" and other_embedder in (embedder, ""):
                pair = [select_queries(t, members, "identity") for t in (table, second)]
                row = compare_attacks(*pair, num_resamples=num_resamples, seed=seed)
                name = f"{other} ({reference})" if reference else other
                parts.append(label_rows([row], embedder=embedder, attack=attack, versus=name))
    return pd.concat(parts, ignore_index=True) if parts else NO_ROWS


def _judge_ceilings(table, members, settings, key):
    """The leak as a share of what this embedder could find at best."""
    queries = select_queries(table, members, "identity")
    parts = []
    for control in CEILINGS:
        if table.generator.eq(CONTROLS[control].format(half="a")).any():
            ceiling = select_queries(table, members, "identity", control)
            row = compare_ceiling(queries, ceiling, num_resamples=settings["num_resamples"], seed=settings["seed"])
            parts.append(label_rows([row], **key, versus=control))
    return parts


def judge_queries(queries, metrics, settings, **keys):
    """``compare_halves`` with the columns of ``KEYS``; the mirrored halves of the disjoint control are not pooled."""
    pooled = keys.get("control", "none") != "disjoint"
    return label_rows(compare_halves(queries, metrics, pooled=pooled, **settings), **keys)


def label_rows(rows, **keys):
    """Rows with the columns of ``KEYS``; those not named are as in the headline."""
    usual = {"embedder": "", "reference": "", "aggregate": "", **HEADLINE}
    table = pd.DataFrame(rows)
    if "half" not in table:
        table = table.assign(half="pooled")
    return table.assign(**{name: {**usual, **keys}[name] for name in KEYS})


def describe_rows(rows, run, settings, verification=None):
    """Put the run's name and settings before its rows, in the study's column order.

    verification : dict, embedder -> AUC on people that it never saw, at the run's resolution; written beside each row.
    """
    head = pd.DataFrame({"run": run, **{name: settings[name] for name in RUN_COLUMNS}}, index=rows.index)
    if "num_generated" in rows:  # rows of the effort curve have their own
        head["num_generated"] = rows.num_generated.fillna(head.num_generated).astype(int)
    table = pd.concat([head, rows.drop(columns="num_generated", errors="ignore")], axis=1)
    table["p_value"] = table.get("p_value", np.nan)
    table["embedder_auc"] = table.embedder.map(verification or {}).astype(float)
    order = ["run", *RUN_COLUMNS[:-1], "half", *KEYS, "num_generated", "metric", "value", "low", "high", "p_value"]
    return table[[*order, "num_members", "num_non_members", "embedder_auc"]]


def hide_names(scores):
    """The scores of the attack ``identity`` with pseudonyms for names: group and a number, photos go.

    People are numbered by their mean score, so that the number holds nothing that the scores do not (a rank in the split
    would give the name back to whoever has the data set). Who has the data set and the GANs can compute scores anyway.

    Returns a DataFrame: person, group, role, generator, embedder, attack, score.
    """
    scores = scores[scores.attack == "identity"]
    rank = scores.groupby("identity").score.mean().rank(method="first", ascending=False).astype(int)
    person = scores.group + scores.identity.map(rank).astype(str).str.zfill(3)
    columns = ["person", "group", "role", "generator", "embedder", "attack", "score"]
    return scores.assign(person=person)[columns].sort_values(columns, ignore_index=True)


def restore_queries(hidden, membership="identity", control="none"):
    """``select_queries`` for a table of ``hide_names``: group and role stand for what the trainer wrote."""
    scores = hidden.assign(identity=hidden.person, image_id=hidden.person + hidden.role)  # a photo's role is all that counts
    members = scores[scores.role == "train"][["group", "image_id", "identity"]].drop_duplicates()
    return select_queries(scores, members, membership, control)


def choose_embedder(verification):
    """The embedder that gives the verdict: the first that tells people apart well enough, else the first of all.

    verification : mapping, embedder -> AUC on people that it never saw, at the run's resolution.
    Returns (name, is_sound): where no embedder is sound, its numbers are shown and are no verdict.
    """
    sound = [name for name, auc in verification.items() if auc >= MIN_VERIFICATION_AUC]
    return (sound or list(verification))[0], bool(sound)


def judge_control(rows, judged_p, embedder):
    """Whether the judged control failed: GAN c, who saw nobody, must not tell the halves apart.

    rows : of ``evaluate_scores``. Returns (failed, p): the halves mirror each other, so p is twice the smaller of their
    one-sided permutation p-values (identity attack, identity membership, per photo); failed where p < ``judged_p``. It
    finds a GAN c or an embedder that knows one half's people; it says nothing about the labels of members.
    """
    judged = {**HEADLINE, "control": "disjoint", "metric": "auc", "embedder": embedder}
    del judged["half"]
    p = 2 * _match(rows, **judged).p_value.min()
    if not np.isfinite(p):
        raise ValueError(f"the judged control of {embedder!r} has no p-value: rows of control 'disjoint' are missing")
    return bool(p < judged_p), float(min(1.0, p))


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
    rows = pd.concat([load_table(path) for path in files.values()], ignore_index=True)
    rows[KEYS] = rows[KEYS].fillna("").astype(str)
    return pd.concat([rows, *_compare_sizes(rows, scores)], ignore_index=True)


def _compare_sizes(rows, scores):
    """Rows of the difference between runs that differ in the number of people alone."""
    runs = rows[rows.slice == "all"].drop_duplicates("run").set_index("run")
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
    """The row of a run's first number: identity attack, identity membership, per photo, pooled, AUC."""
    part = rows[rows.run == run]
    return _match(part, **HEADLINE, metric="auc", embedder=choose_embedder(_read_verification(part))[0]).iloc[0]


def _read_verification(rows):
    return rows[rows.embedder != ""].drop_duplicates("embedder").set_index("embedder").embedder_auc.to_dict()


def compute_headlines(rows, runs, judged_p):
    """The few numbers a run that ``dvc metrics show`` prints: a nested dict, run -> name -> number."""
    headlines = {}
    for run in runs:
        part = rows[rows.run == run]
        row = select_headline(part, run)
        other = {**HEADLINE, "metric": "auc", "embedder": row.embedder}
        share = {**other, "metric": "leak_share", "versus": "identity_twin"}
        values = {
            "identity_auc": row.value,
            "identity_auc_low": row.low,
            "identity_auc_high": row.high,
            "identity_auc_person": _first(part, **{**other, "level": "person", "aggregate": "mean"}),
            "identity_tpr_at_fpr_1e-1": _first(part, **{**other, "metric": "tpr_at_fpr_1e-1"}),
            "image_auc": _first(part, **{**other, "membership": "image"}),
            "photo_given_person_auc": _first(part, **{**other, "membership": "photo_given_person"}),
            "top_k_calibrated_auc": _first(part, **{**other, "attack": "top_k_calibrated", "reference": "gan"}),
            "discriminator_auc": _first(part, **{**other, "attack": "discriminator", "embedder": ""}),
            "calibration_gain": -_first(part, **{**other, "metric": "auc_difference", "versus": "top_k_calibrated (gan)"}),
            "pixel_identity_auc": _first(part, **{**other, "attack": "pixel", "embedder": ""}),
            "ceiling_auc": _first(part, **{**other, "control": "identity_twin"}),
            "leak_share_of_ceiling": _first(part, **share),
            "embedder_auc": row.embedder_auc,
            "control_p_value": judge_control(part, judged_p, row.embedder)[1],
        }
        headlines[run] = {name: None if pd.isna(v) else round(float(v), 4) for name, v in values.items()}
        headlines[run]["control_failed"] = judge_control(part, judged_p, row.embedder)[0]
        headlines[run]["embedder_is_sound"] = choose_embedder(_read_verification(part))[1]
    return headlines


def compute_roc_curves(scores, controls=("none", "disjoint", "untrained", "copy_machine")):
    """ROC points of the identity attack per photo, each half, for the attack and its controls.

    scores : dict, run -> DataFrame of ``hide_names``, of one embedder. Returns a DataFrame: run, control, half, fpr, tpr.
    """
    parts = []
    for run, hidden in scores.items():
        for control in controls:
            for half, queries in restore_queries(hidden, control=control).groupby("half"):
                roc = compute_roc(queries.score.to_numpy(), queries.is_member.to_numpy())
                parts.append(roc[["fpr", "tpr"]].assign(run=run, control=control, half=half))
    return pd.concat(parts, ignore_index=True)[["run", "control", "half", "fpr", "tpr"]]


def _first(rows, **wanted):
    values = _match(rows, **wanted).value
    return values.iloc[0] if len(values) else np.nan


def _match(rows, **wanted):
    for column, value in wanted.items():
        rows = rows[rows[column] == value]
    return rows
