"""How good, how overfit and how leaky a GAN is while it trains: the same measures for each of its snapshots.

Computed from the snapshots after training, so that another embedder or measure never trains a GAN again.
"""

import numpy as np
import pandas as pd
import torch

from ppe.distances import find_nearest
from ppe.embeddings import embed_faces
from ppe.evaluation import judge_queries, label_rows
from ppe.frechet import compute_frechet_distance
from ppe.sampling import sample_faces
from ppe.scoring import HALVES, score_photos, select_queries

KERNEL_DEGREE = 3
"""Of the polynomial kernel (Bińkowski et al. 2018, section 4)."""


def compute_kernel_distance(first, second):
    """Squared maximum mean discrepancy of two sets, unbiased: with few faces it is noisy, but not too large.

    The kernel is (x . y + 1)^3, KID's on unit vectors (Bińkowski et al. 2018, arXiv 1801.01401, section 4 and equation 4).

    Parameters
    ----------
    first, second : Tensor [N, D], [M, D], float32, unit L2 norm; at least two rows each.

    Returns
    -------
    distance : float; small = alike, about 0 for two samples of one population, also slightly below.

    Raises
    ------
    ValueError
        If a side has fewer than two rows.
    """
    if min(len(first), len(second)) < 2:
        raise ValueError(f"{len(first)} and {len(second)} embeddings, but at least two a side are needed")
    first, second = first.double(), second.double()

    def mean_off_diagonal(x):
        kernel = (x @ x.T + 1) ** KERNEL_DEGREE
        return (kernel.sum() - kernel.diagonal().sum()) / (len(x) * (len(x) - 1))

    across = ((first @ second.T + 1) ** KERNEL_DEGREE).mean()
    return float(mean_off_diagonal(first) + mean_off_diagonal(second) - 2 * across)


def measure_quality(generated, real):
    """Fréchet and kernel distance between generated and real faces in an embedder's space.

    The Fréchet distance of a few faces is biased upwards by how few they are: compare it between sets of one size alone.

    generated, real : Tensor [M, D], [N, D], float32. Returns {"frechet_distance": float, "kernel_distance": float}.
    """
    statistics = [(x.double().mean(0).numpy(), np.cov(x.double().numpy(), rowvar=False)) for x in (generated, real)]
    frechet = compute_frechet_distance(*statistics[0], *statistics[1])
    return {"frechet_distance": frechet, "kernel_distance": compute_kernel_distance(generated, real)}


def judge_training(snapshots, load, net, count, **known):
    """The rows of every snapshot of GANs a and b, in the order of training.

    snapshots : dict, half -> list of paths ``snapshot-<images>.safetensors``, the same images in both; load : path ->
    generator; net : embedder; count : generated faces a snapshot; known : what ``judge_snapshot`` takes besides.
    """
    parts = []
    for pair in zip(*(snapshots[half] for half in HALVES), strict=True):
        images = {int(path.stem.split("-")[1]) for path in pair}
        if len(images) > 1:
            raise ValueError(f"snapshots {[path.name for path in pair]} are not of one moment: train both GANs anew")
        generated = {}
        for half, path in zip(HALVES, pair, strict=True):
            faces = torch.cat(list(sample_faces(load(path), range(count))))
            generated[half] = embed_faces(faces, net, device=next(net.parameters()).device)
        parts.append(judge_snapshot(generated=generated, kimg=images.pop() / 1000, **known))
    return pd.concat(parts, ignore_index=True)


def judge_snapshot(photos, query, generated, members, kimg, *, embedder, settings):
    """The rows of one snapshot of GANs a and b.

    Parameters
    ----------
    photos : DataFrame, N rows: image_id, identity, group, role, as in ``score_photos``.
    query : Tensor [N, D], float32, unit L2 norm: the photos' embeddings.
    generated : dict, half -> Tensor [M, D], float32, unit L2 norm.
    members : DataFrame, written by the trainer.
    kimg : float. Thousands of real faces shown so far.
    embedder : str; settings : num_resamples, num_permutations, seed.

    Returns
    -------
    DataFrame of rows with ``slice`` "kimg: ...": the AUC of the attack ``identity`` on unseen photos; frechet_distance and
    kernel_distance to the half's train photos, to unseen photos of the same people and to the other half's unseen photos
    (``versus``), all equally many; distinct_people, how many of the half's people are the nearest of some generated face.
    """
    key = {"embedder": embedder, "attack": "identity", "slice": f"kimg: {kimg:g}"}
    sets = {half: {"generated_embeddings": vectors} for half, vectors in generated.items()}
    scores = score_photos(photos, {"query_embeddings": query}, sets, ["identity"], embedder)
    parts = [judge_queries(select_queries(scores, members, "identity"), ("auc",), settings, **key)]
    rows = []
    for half in HALVES:
        is_own = (photos.group == half).to_numpy()
        is_train = photos.image_id.isin(members.image_id).to_numpy()
        versus = {"train photos": is_own & is_train, "unseen photos": is_own & ~is_train, "other people": ~is_own & ~is_train}
        count = min(chosen.sum() for chosen in versus.values())
        for name, chosen in versus.items():
            for metric, value in measure_quality(generated[half], query[np.flatnonzero(chosen)[:count]]).items():
                rows.append({"half": half, "versus": name, "metric": metric, "value": value})
        own = np.flatnonzero(is_own & is_train)
        _, nearest = find_nearest(generated[half], query[torch.as_tensor(own)])
        people = photos.identity.to_numpy()[own][nearest.cpu().numpy()]
        rows.append({"half": half, "versus": "", "metric": "distinct_people", "value": len(np.unique(people))})
    quality = pd.DataFrame(rows)
    pooled = quality.groupby(["versus", "metric"], as_index=False, sort=False).value.mean().assign(half="pooled")
    for part in (quality, pooled):
        for versus, group in part.groupby("versus", sort=False):
            parts.append(label_rows(group.drop(columns="versus").to_dict("records"), **key, versus=versus))
    table = pd.concat(parts, ignore_index=True)
    return table.assign(num_generated=min(len(vectors) for vectors in generated.values()))
