"""Are drawn people good enough to stand for people? What nets that were trained on photographs say of them.

The bounds are the data set's promise; MTCNN is Zhang et al. 2016, the net that judges is a MobileFaceNet (Chen et al. 2018).
"""

import numpy as np
import pandas as pd
import torch
from sklearn.linear_model import RidgeCV
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import GroupKFold, cross_val_predict
from sklearn.preprocessing import StandardScaler
from torch.nn import functional

from ppe.embedders.embed import embed_faces

CORNER = 8  # the square in each upper corner that counts as background is 1 / CORNER of the photo's width
PENALTIES = np.logspace(0, 5, 11)
PROMISES = {
    "photos in which a face is found": ("at least", 0.98),
    "same person or not, AUC at 112 px": ("at least", 0.97),
    "same person or not, AUC after 32 px": ("at least", 0.90),
    "mean cosine of different people": ("at most", 0.35),
    "most of a parameter read off the background": ("at most", 0.05),  # of nothing, the best of so many scatters about 0
}


def measure_likeness(faces, identity, embedder, *, resolutions=(112, 32), device="cpu"):
    """Ask a net which photos show the same person: all pairs, at each resolution.

    Parameters
    ----------
    faces : array or Tensor [N, 3, H, W], uint8, RGB, aligned.
    identity : array [N]. The person of each face.
    embedder : ppe.embedders.Embedder
        Trained on photographs; a net that was trained on drawn people would prove nothing.
    resolutions : tuple of int, pixels. The faces are brought down to each before the net sees them.
    device : str or torch.device

    Returns
    -------
    DataFrame, indexed by resolution: ``auc`` (0.5 is guessing), ``cosine_same`` and ``cosine_other``, the mean over pairs
    of one person and of two.

    Raises
    ------
    ValueError
        If there is no pair of one of the two kinds.
    """
    _, person = np.unique(np.asarray(identity), return_inverse=True)
    first, second = np.triu_indices(len(person), k=1)
    same = person[first] == person[second]
    if same.all() or not same.any():
        raise ValueError(f"{len(person)} faces of {len(set(person))} people have no pairs of one person, or none of two")
    rows = []
    for resolution in resolutions:
        vectors = embed_faces(faces, embedder, resolution=resolution, device=device)
        cosine = (vectors @ vectors.T).numpy()[first, second]
        rows.append((roc_auc_score(same, cosine), cosine[same].mean(), cosine[~same].mean()))
    columns = ["auc", "cosine_same", "cosine_other"]
    return pd.DataFrame(rows, columns=columns, index=pd.Index(resolutions, name="resolution"))


def read_background(photos, vectors, identity):
    """Try to read each identity parameter off a photo's upper corners, by ridge regression, on people it was not fitted to.

    Parameters
    ----------
    photos : array or Tensor [N, 3, H, W], uint8.
    vectors : array or DataFrame [N, K], float. The identity vector of each photo's person.
    identity : array [N]. The person of each photo; at least five people.

    Returns
    -------
    array [K], float. Share of each parameter's variance that is read: 1 is all, 0 or less is nothing.
    """
    photos, vectors = torch.as_tensor(photos), np.asarray(vectors, dtype=np.float64)
    side = photos.shape[-1] // CORNER
    corners = torch.cat([photos[:, :, :side, :side], photos[:, :, :side, -side:]], dim=3).float()
    features = StandardScaler().fit_transform(functional.avg_pool2d(corners, 4).flatten(1).numpy())
    model = RidgeCV(PENALTIES, alpha_per_target=True)
    predicted = cross_val_predict(model, features, vectors, groups=np.asarray(identity), cv=GroupKFold(5))
    return 1 - ((vectors - predicted) ** 2).mean(0) / vectors.var(0)


def tabulate_promises(found, likeness, background):
    """Compare what was measured with what drawn people promise (``PROMISES``).

    Parameters
    ----------
    found : float in [0, 1]. Share of the photos in which the detector finds a face.
    likeness : DataFrame of `measure_likeness` at 112 and 32 px, or None where no net could be asked.
    background : array [K] of `read_background`.

    Returns
    -------
    DataFrame, a row a promise: ``measured`` (NaN: not measured), ``promised`` (str), ``kept`` (bool, or None).
    """
    asked = [np.nan] * 3
    if likeness is not None:
        asked = [likeness.auc[112], likeness.auc[32], likeness.cosine_other[112]]
    table = pd.DataFrame({"measured": [found, *asked, np.max(background)]}, index=list(PROMISES))
    table["promised"] = [f"{word} {bound}" for word, bound in PROMISES.values()]
    table["kept"] = [
        None if np.isnan(value) else bool(value >= bound if word == "at least" else value <= bound)
        for value, (word, bound) in zip(table.measured, PROMISES.values(), strict=True)
    ]
    return table
