"""Which attack is stronger than the paper's? Every trial on one finished run, also those that were not kept.

``python bench/attack_trials.py RUN`` in the folder of a finished study (the project, or ``.studies/<name>``) takes two minutes on
two cores and prints each trial's AUC on unseen photos and its paired gain over ``nearest`` with the interval.
"""

import argparse

import numpy as np
import pandas as pd
import torch
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from torch.nn import functional as F

from ppe.attacks import inputs, together
from ppe.attacks.normalisation import find_top_k_snorm
from ppe.attacks.scores import average_embeddings, score_nearest, score_nearest_top_k
from ppe.attacks.selection import MEMBER_GROUPS, aggregate_queries, select_queries
from ppe.config import LazyRows, load_array, load_params, load_table
from ppe.embedders import load_embedder
from ppe.embedders.embed import embed_faces
from ppe.evaluation.tables import choose_embedder, select_verification
from ppe.statistics.intervals import compare_attacks
from ppe.statistics.metrics import compute_auc

SHIFT = 3  # pixels of the aligned face, about one pixel at 32 px


def load_run(run):
    """Photos, members, and every embedding of a run, by embedder: dict of Tensor."""
    params = load_params(run)
    settings = params.runs[run]
    dataset = settings.dataset
    table = load_table(params.faces_folder(dataset) / "faces.csv")
    members = load_table(params.generators_folder(run) / "members.csv")
    split = load_table(params.generators_folder(run) / "split.csv")
    photos = inputs.list_photos(table, split, members)
    row = pd.Series(table.index, index=table.image_id)
    faces = load_array(params.faces_folder(dataset) / "faces.npy")
    usable = table[table.detected & (table.duplicate_of == "")]
    rows = {"query": row[photos.image_id], "shadow": row[inputs.list_shadow_photos(split, members).image_id],
            **{part: usable.index[usable.part == part] for part in ("cohort", "threshold")}}  # fmt: skip
    drawn = {group: load_array(params.generated_folder(run) / f"{group}.npy")[: settings.num_generated] for group in "abc"}
    found = {}
    for name in params.datasets[dataset].embedders:
        net = load_embedder(params, name, dataset)
        shown = {part: np.asarray(LazyRows(faces, index)[:]) for part, index in rows.items()}
        found[name] = {part: embed_faces(rows, net, resolution=settings.resolution) for part, rows in shown.items()}
        found[name] |= {group: embed_faces(drawn[group], net) for group in "abc"}
        found[name]["crops"] = [embed_faces(crop, net, resolution=settings.resolution) for crop in list_crops(shown["query"])]
        found[name]["mirrored"] = embed_faces(torch.tensor(shown["query"]).flip(3), net, resolution=settings.resolution)
    verification = load_table(params.embedders_folder(dataset) / "verification.csv")
    verified = select_verification(verification, list(found), settings.resolution)
    return photos, members, usable[usable.part == "threshold"].identity, found, choose_embedder(verified, 0)[0]


def list_crops(faces):
    """The faces shifted by ``SHIFT`` pixels in four directions; the border repeats."""
    padded, side = F.pad(torch.tensor(faces).float(), (SHIFT,) * 4, mode="replicate").byte(), faces.shape[2]
    return [padded[:, :, y : y + side, x : x + side] for y, x in ((0, SHIFT), (2 * SHIFT, SHIFT), (SHIFT, 0), (SHIFT, 2 * SHIFT))]


def fit_tail(query, generated, k=100, factor=100):
    """The largest cosine expected of ``factor`` times as many faces, by a generalised Pareto fit of moments to the k largest."""
    largest = together.find_top_k(query, generated, k + 1).double().numpy()
    threshold, excess = largest[:, -1], largest[:, :-1] - largest[:, -1:]
    ratio = excess.mean(1) ** 2 / excess.var(1)
    shape, scale = np.clip((1 - ratio) / 2, -0.5, 0.3), excess.mean(1) * (ratio + 1) / 2
    return threshold + scale / shape * ((factor * k) ** shape - 1)


def try_scores(found, main):
    """Trials that need one embedder: name -> function of a group -> scores [N]."""
    own = found[main]
    mirrored = average_embeddings(own["query"], own["mirrored"])
    crops = F.normalize(own["query"] + sum(own["crops"]))

    def ask(query, group, score=score_nearest, **constants):
        return score(query_embeddings=query, generated_embeddings=own[group], **constants)

    def classify(group):
        faces = np.concatenate([own[group], own["c"]])
        labels = np.repeat([1, 0], [len(own[group]), len(own["c"])])
        return LogisticRegression(C=1.0, max_iter=1000).fit(faces, labels).decision_function(own["query"])

    trials = {
        "nearest": lambda group: ask(own["query"], group),
        "photo and mirror image": lambda group: ask(mirrored, group),
        "five crops": lambda group: ask(crops, group),
        "extreme-value fit": lambda group: fit_tail(own["query"], own[group]),
        "classifier against faces of the reference": classify,
    }
    for k in (10, 100):
        trials[f"mean of {k} largest"] = lambda group, k=k: ask(own["query"], group, score_nearest_top_k, top_k=k)
    for size in (20, 100, 300):
        for k in (1, 30, 100, 300):
            trials[f"S-norm, K {size}, mean of {k}"] = lambda group, size=size, k=k: (
                find_top_k_snorm(own["query"], own[group], own["cohort"], size, k).mean(1).numpy()
            )
    return trials


def pick(found, part):
    return {name: rows[part] for name, rows in found.items()}


def try_together(found):
    """Trials that combine the features of all embedders: name -> function of a group -> scores [N]."""
    def measure(part, group):
        return together.measure_features(pick(found, part), pick(found, group), pick(found, "cohort"))

    others, asked = {group: measure("threshold", group) for group in "abc"}, {group: measure("query", group) for group in "ab"}
    shadow = measure("shadow", "c")
    constants = dict.fromkeys(found, {"cohort_size": 100, "snorm_top_k": 100})
    features = pd.concat([together.standardise(table, others["c"]) for table in (shadow, others["c"])])
    is_member = np.repeat([True, False], [len(shadow), len(others["c"])])

    def learn(model):
        model.fit(features, is_member)
        return lambda group: model.predict_proba(together.standardise(asked[group], others[group]))[:, 1]

    trials = {"sum of all features": lambda group: together.standardise(asked[group], others[group]).sum(axis=1).to_numpy()}
    trials["fused"] = lambda group: together.score_fused(
        pick(found, "query"), pick(found, "threshold"), pick(found, group), pick(found, "cohort"), constants
    )
    for strength in (1e-4, 1e-3, 1e-2, 1e-1):
        score = together.fit_weights(shadow, others["c"], strength)
        trials[f"learned, C {strength:g}"] = lambda group, score=score: score(asked[group], others[group])
    forest = RandomForestClassifier(300, min_samples_leaf=10, class_weight="balanced", random_state=0)
    boosted = HistGradientBoostingClassifier(max_depth=2, max_iter=60, learning_rate=0.05, class_weight="balanced")
    return trials | {"learned, random forest": learn(forest), "learned, boosted trees": learn(boosted)}


def try_templates(photos, members, found, main):
    """Per identity: the mean embedding of a person's unseen photos, against the mean of their photos' scores."""
    unseen = ~photos.image_id.isin(members.image_id)
    identities = photos[unseen].drop_duplicates("identity")
    rows = [np.flatnonzero(unseen & (photos.identity == name)) for name in identities.identity]
    templates = F.normalize(torch.stack([found[main]["query"][own].mean(0) for own in rows]))
    faces = found[main]
    scores = {group: score_nearest(query_embeddings=templates, generated_embeddings=faces[group]) for group in MEMBER_GROUPS}
    return aggregate_queries(make_queries(identities, members, scores), "mean")


def make_queries(photos, members, scores):
    table = pd.concat([photos.assign(face_set=group, score=scores[group]) for group in MEMBER_GROUPS], ignore_index=True)
    return select_queries(table, members, "identity_membership")


def describe(name, queries, base, num_resamples):
    parts = [compute_auc(part.score.to_numpy(), part.is_member.to_numpy()) for _, part in queries.groupby("member_group")]
    row = {"trial": name, "auc": np.mean(parts)}
    if base is not None:
        row |= {f"gain_{key}".replace("gain_value", "gain"): value
                for key, value in compare_attacks(queries, base, num_resamples=num_resamples, seed=0).items()
                if key in ("value", "low", "high")}  # fmt: skip
    return row


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("run", help="a finished run, of the study in this folder")
    parser.add_argument("--resamples", type=int, default=1000)
    options = parser.parse_args()
    photos, members, _, found, first = load_run(options.run)
    trials = try_scores(found, first) | try_together(found)
    scores = {name: {group: score(group) for group in MEMBER_GROUPS} for name, score in trials.items()}
    queries = {name: make_queries(photos, members, score) for name, score in scores.items()}
    base = queries["nearest"]
    rows = [describe(name, table, None if name == "nearest" else base, options.resamples) for name, table in queries.items()]
    by_identity = aggregate_queries(base, "mean")
    rows.append(describe("per identity: mean of scores", by_identity, None, options.resamples))
    largest, templates = aggregate_queries(base, "largest"), try_templates(photos, members, found, first)
    for name, table in (("largest score", largest), ("template", templates)):
        rows.append(describe(f"per identity: {name}", table, by_identity, options.resamples))
    print(pd.DataFrame(rows).round(3).to_string(index=False, na_rep=""))


if __name__ == "__main__":
    main()
