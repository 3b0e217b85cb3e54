"""Verify several embedders at several resolutions, on the same pairs of photos (Huang et al. 2007)."""

from itertools import product

import numpy as np
import pandas as pd

from ppe.embedders.embed import compute_verification, embed_faces, verify_pairs
from ppe.embedders.pairs import count_pairs
from ppe.statistics.metrics import compute_roc

MIN_PAIRS = 20
"""Fewest pairs of photos that check an embedder; as many as params.yaml allows."""


def verify_embedders(embedders, faces, identity, *, resolutions, num_pairs, seed, device="cpu"):
    """Measure how well embedders separate pairs of photos of one person from pairs of two people.

    Parameters
    ----------
    embedders : dict, name -> ppe.embedders.Embedder
    faces : array, LazyRows or Tensor [N, 3, H, W], uint8, RGB, aligned.
    identity : array [N], str. The person of each face; none of them trained an embedder.
    resolutions : sequence of int, pixels. The faces are reduced to each.
    num_pairs, seed : as in ``ppe.embedders.embed.verify_pairs``; fewer pairs are drawn where there are no more, since faces were
        lost, down to ``MIN_PAIRS``.
    device : str or torch.device

    Returns
    -------
    results : DataFrame, a row per embedder and resolution
        embedder, resolution, the measures of ``ppe.embedders.embed.compute_verification``, num_identities, num_pairs.
    pairs : DataFrame, a row per pair: embedder, resolution, score (cosine in [-1, 1], large = same person), is_same (bool).
    curves : DataFrame, a row per point of a ROC curve
        The columns of ``ppe.statistics.metrics.compute_roc``, embedder, resolution, auc.
    """
    identity = np.asarray(identity)
    results, pairs, curves, most = [], [], [], 2 * min(count_pairs(identity))
    num_pairs = min(num_pairs, most) if most >= MIN_PAIRS else num_pairs
    for (name, embedder), resolution in product(embedders.items(), resolutions):
        vectors = embed_faces(faces, embedder, resolution=resolution, device=device)
        score, is_same = verify_pairs(vectors, identity, num_pairs=num_pairs, seed=seed)
        case, measures = {"embedder": name, "resolution": resolution}, compute_verification(score, is_same)
        results.append({**case, **measures, "num_identities": len(set(identity)), "num_pairs": num_pairs})
        pairs.append(pd.DataFrame({**case, "score": score.numpy(), "is_same": is_same.numpy()}))
        curves.append(compute_roc(score.numpy(), is_same.numpy()).assign(**case, auc=measures["auc"]))
    return pd.DataFrame(results), pd.concat(pairs, ignore_index=True), pd.concat(curves, ignore_index=True)
