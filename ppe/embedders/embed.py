"""Embeddings of faces, computed in batches, and their verification performance.

The verification protocol is that of Huang et al. 2007, "Labeled Faces in the Wild".
"""

import tempfile
from collections import deque
from functools import partial

import numpy as np
import pandas as pd
import torch
from sklearn.metrics import roc_auc_score, roc_curve

from ppe.config.storage import read_block, to_tensor
from ppe.embedders import load_embedder
from ppe.embedders.pairs import count_pairs, find_pairs
from ppe.faces import resize_faces
from ppe.faces.workers import MAX_WORKERS, open_workers

BATCH_PIXELS = {"cpu": 2**17, "cuda": 2**22}
"""Input pixels of a batch: on a CPU 56 faces of 48 px or 10 of 112 px, whose feature maps fit its cache."""
MAX_IN_MEMORY = 2**28
"""Largest array of embeddings kept in memory, in bytes (131,072 rows of 512 numbers); a larger one is written to a file."""


def embed_faces(faces, embedder, *, resolution=None, batch_size=None, device="cpu"):
    """Embed faces in batches.

    Parameters
    ----------
    faces : array, memmap, LazyRows or Tensor [N, 3, H, W], uint8, RGB.
    embedder : ppe.embedders.Embedder
    resolution : int or None, pixels
        Side to which the faces are first reduced by area averaging, as a generator's training faces are; None: no reduction.
    batch_size : int or None
        Memory grows with it, the result does not depend on it. None: ``BATCH_PIXELS`` pixels of the embedder's input.
    device : str or torch.device
        Device to which the embedder is moved and on which it computes.

    Returns
    -------
    Tensor [N, D], float32, on the CPU. Unit L2 norm; row i is face i. Above ``MAX_IN_MEMORY`` bytes it is a read-only numpy
    memmap instead, of a temporary file (in $TMPDIR) that is deleted with the array.

    Raises
    ------
    ValueError
        If the faces are not uint8 [N, 3, H, W] or an embedding is not finite.
    """
    if len(faces.shape) != 4 or faces.shape[1] != 3 or str(faces.dtype).removeprefix("torch.") != "uint8":
        raise ValueError(f"faces are {faces.dtype} {list(faces.shape)}, but must be uint8 [N, 3, H, W]")
    if batch_size is not None and batch_size < 1:
        raise ValueError(f"batch_size={batch_size} is not at least 1")
    embedder = embedder.to(device)
    if batch_size is None:
        batch_size = max(1, BATCH_PIXELS[torch.device(device).type] // embedder.input_size**2)

    kept, num_bytes, file = [], 0, None
    for start, vectors in _iter_embeddings(faces, embedder, resolution, batch_size, device):
        if not vectors.isfinite().all():
            row = start + int((~vectors.isfinite()).any(1).nonzero()[0])
            raise ValueError(f"the embedding of face {row} is not finite: the embedder's weights are damaged, train or download "
                             "them again")
        kept.append(vectors)
        num_bytes += vectors.nbytes
        if num_bytes > MAX_IN_MEMORY:
            file = file or tempfile.TemporaryFile()
            file.writelines(part.numpy().tobytes() for part in kept)
            kept.clear()
    if file is None:
        return torch.cat(kept)
    with file:  # the mapping outlives the file object
        file.flush()
        return np.memmap(file, np.float32, "r", shape=(len(faces), vectors.shape[1]))


def build_embed(params, dataset, name, device):
    """Build a function of faces alone, uint8 [N, 3, H, W] -> float32 [N, D], of an embedder of params; None if ``name`` is None.

    Raises ValueError of ``ppe.embedders.load``.
    """
    if name is None:
        return None
    return partial(embed_faces, embedder=load_embedder(params, name, dataset), device=device)


def _iter_embeddings(faces, embedder, resolution, batch_size, device):
    """Yield (first row, Tensor [<= batch_size, D]) of each batch, in order; on a CPU several batches are at work at a time."""

    def embed_batch(batch):
        with torch.inference_mode():
            batch = batch if resolution is None else resize_faces(batch, resolution)
            return embedder(batch.to(device)).cpu()

    waiting = deque()
    with open_workers(device) as pool:
        # Without faces, one empty batch gives the result its D columns.
        for start in range(0, max(len(faces), 1), batch_size):
            waiting.append((start, pool.submit(embed_batch, read_block(faces, start, batch_size))))
            if len(waiting) > MAX_WORKERS:
                first, future = waiting.popleft()
                yield first, future.result()
        for first, future in waiting:
            yield first, future.result()


def verify_pairs(embeddings, identity, *, num_pairs, seed):
    """Score random pairs of photos without repetition, half of one identity and half of two.

    Pairs are drawn by their rank in the order of their rows, so memory grows with N + num_pairs and not with N^2.

    Parameters
    ----------
    embeddings : Tensor or memmap [N, D], float32, unit L2 norm.
    identity : array [N], str or int
        Identity of each embedding.
    num_pairs : int
        Even. Half are drawn from all pairs of one identity, half from all pairs of two.
    seed : int

    Returns
    -------
    score : Tensor [num_pairs], float32, in [-1, 1]. Cosine; large = same identity.
    is_same : Tensor [num_pairs], bool

    Raises
    ------
    ValueError
        If there are not enough pairs of either kind.
    """
    number = np.unique(np.asarray(identity), return_inverse=True)[1]
    half, (num_same, num_other) = num_pairs // 2, count_pairs(number)
    if num_pairs < 2 or num_pairs % 2 or half > min(num_same, num_other):
        raise ValueError(
            f"num_pairs={num_pairs} is not an even number up to {2 * min(num_same, num_other)}: "
            f"there are {num_same} pairs of one identity and {num_other} of two (params.yaml: datasets)"
        )
    rng = np.random.default_rng(seed)
    ranks = [rng.choice(count, half, replace=False) for count in (num_same, num_other)]
    first, second = np.concatenate(find_pairs(number, *ranks), axis=1)
    score = (to_tensor(embeddings[first]) * to_tensor(embeddings[second])).sum(1)
    return score, torch.arange(num_pairs) < half


def compute_verification(score, is_same, *, num_folds=10):
    """Measure how well scores separate pairs of one identity from pairs of two.

    Parameters
    ----------
    score : Tensor or array [P], float. Large = same identity.
    is_same : Tensor or array [P], bool.
    num_folds : int
        Each fold takes consecutive pairs of each kind, as the folds of LFW do; pairs in LFW's published order give LFW's
        folds.

    Returns
    -------
    dict of str -> float
        ``auc``; ``accuracy``, the mean over folds of the accuracy at the threshold that is best on the other folds
        (Huang et al. 2007, section 3); ``tpr_at_fpr_1e-1`` and ``tpr_at_fpr_1e-2``, the largest TPR of a threshold
        whose FPR is at most 0.1 or 0.01, without interpolation.

    Raises
    ------
    ValueError
        If either kind has fewer pairs than there are folds, or a score is not finite.
    """
    score, is_same = np.asarray(score, dtype=np.float64), np.asarray(is_same, dtype=bool)
    if score.shape != is_same.shape or score.ndim != 1 or not np.isfinite(score).all():
        raise ValueError(f"score {list(score.shape)} and is_same {list(is_same.shape)} must be finite, and of one length")
    if min(is_same.sum(), (~is_same).sum()) < num_folds:
        raise ValueError(f"{is_same.sum()} same and {(~is_same).sum()} other pairs are too few for {num_folds} folds: raise "
                         "num_pairs (params.yaml: datasets)")
    fold = np.empty(len(score), dtype=np.int64)
    for kind in (is_same, ~is_same):
        fold[kind] = np.arange(kind.sum()) * num_folds // kind.sum()
    accuracy = [
        np.mean((score[fold == k] >= _find_threshold(score[fold != k], is_same[fold != k])) == is_same[fold == k])
        for k in range(num_folds)
    ]
    fpr, tpr, _ = roc_curve(is_same, score, drop_intermediate=False)
    return {
        "auc": float(roc_auc_score(is_same, score)),
        "accuracy": float(np.mean(accuracy)),
        "tpr_at_fpr_1e-1": float(tpr[fpr <= 0.1].max()),
        "tpr_at_fpr_1e-2": float(tpr[fpr <= 0.01].max()),
    }


def compare_with_truth(embeddings, identity, vectors):
    """Compare distances between synthetic identities in their known parameters with distances in an embedding.

    Parameters
    ----------
    embeddings : Tensor [N, D], float32, unit L2 norm.
    identity : array [N]. Identity of each embedding.
    vectors : array [N, K], float. Parameters of the identity, equal in all of its rows.

    Returns
    -------
    DataFrame, one row a pair of identities: ``parameter_distance`` (root mean square over the K parameters, each in units of
    its standard deviation over identities), ``embedding_distance`` (1 - cosine of the identities' mean embeddings); small =
    similar.
    """
    names, first, number = np.unique(np.asarray(identity), return_index=True, return_inverse=True)
    means = np.zeros((len(names), embeddings.shape[1]))
    np.add.at(means, number, np.asarray(embeddings, dtype=np.float64))
    means /= np.linalg.norm(means, axis=1, keepdims=True)
    vectors = np.asarray(vectors, dtype=np.float64)[first]
    spread = vectors.std(0)
    scaled = (vectors / np.where(spread > 0, spread, 1)) / np.sqrt(vectors.shape[1])
    one, two = np.triu_indices(len(names), k=1)
    distance = {
        "parameter_distance": np.linalg.norm(scaled[one] - scaled[two], axis=1),
        "embedding_distance": 1 - (means[one] * means[two]).sum(1),
    }
    return pd.DataFrame(distance)


def _find_threshold(score, is_same):
    """Threshold of the highest accuracy, halfway between the two scores that it separates."""
    order = np.argsort(score, kind="stable")
    ordered, labels = score[order], is_same[order]
    # correct[i]: correct decisions if the i lowest scores are classified as two identities.
    correct = np.concatenate([[0], np.cumsum(~labels)]) + np.concatenate([[0], np.cumsum(labels[::-1])])[::-1]
    bounds = np.concatenate([[-np.inf], (ordered[1:] + ordered[:-1]) / 2, [np.inf]])
    # Equal scores cannot be separated.
    correct[1:-1][ordered[1:] == ordered[:-1]] = -1
    return bounds[np.argmax(correct)]


def extend_embeddings(embedded, faces, embedder, device="cpu"):
    """Embed the faces after the first ones, which are embedded already.

    Parameters
    ----------
    embedded : Tensor or memmap [n, D], float32. Embeddings of the first n faces.
    faces : array [N, 3, H, W], uint8, N >= n.
    embedder, device
        As in ``embed_faces``.

    Returns
    -------
    Embeddings of all faces [N, D], as ``embed_faces`` returns them.
    """
    rest = faces[len(embedded) :]
    if 4 * embedded.shape[1] * len(faces) > MAX_IN_MEMORY:
        return embed_faces(faces, embedder, device=device) if len(rest) else embedded
    return torch.cat([embedded, embed_faces(rest, embedder, device=device)]) if len(rest) else embedded
