"""Realism of synthetic identities, measured by models that were trained on photographs.

The detector is MTCNN (Zhang et al. 2016), and the face recognition model is a MobileFaceNet (Chen et al. 2018). The bounds
are requirements on the synthetic data set.
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

CORNER = 8  # the square in each upper corner that counts as scenery has 1 / CORNER of the photo's width
PENALTIES = np.logspace(0, 5, 11)
PROMISES = {
    "share of photos with a detected face": ("at least", 0.98),
    "verification AUC at 112 px": ("at least", 0.97),
    "verification AUC at 32 px": ("at least", 0.90),
    "mean cosine of different identities": ("at most", 0.35),
    "largest share of a parameter explained by the scenery": ("at most", 0.05),  # a maximum over parameters, about 0
}
"""Requirements on the data set: bounds of what ``tabulate_promises`` compares."""


def measure_likeness(faces, identity, embedder, *, resolutions=(112, 32), device="cpu"):
    """Verify all pairs of faces with a face recognition model, at each resolution.

    Parameters
    ----------
    faces : array or Tensor [N, 3, H, W], uint8, RGB, aligned.
    identity : array [N]. Identity of each face.
    embedder : ppe.embedders.Embedder
        Trained on photographs; a model trained on synthetic identities is no evidence of their realism.
    resolutions : tuple of int, pixels. Sides to which the faces are reduced first.
    device : str or torch.device

    Returns
    -------
    DataFrame, indexed by resolution: ``auc`` (0.5 at chance), ``cosine_same`` and ``cosine_other``, the mean cosine of pairs
    of one identity and of two.

    Raises
    ------
    ValueError
        If there is no pair of one of the two kinds.
    """
    _, number = np.unique(np.asarray(identity), return_inverse=True)
    first, second = np.triu_indices(len(number), k=1)
    same = number[first] == number[second]
    if same.all() or not same.any():
        raise ValueError(f"{len(number)} faces of {len(set(number))} identities have no pair of one identity, or none of two: "
                         "give more photos")
    rows = []
    for resolution in resolutions:
        vectors = embed_faces(faces, embedder, resolution=resolution, device=device)
        cosine = (vectors @ vectors.T).numpy()[first, second]
        rows.append((roc_auc_score(same, cosine), cosine[same].mean(), cosine[~same].mean()))
    columns = ["auc", "cosine_same", "cosine_other"]
    return pd.DataFrame(rows, columns=columns, index=pd.Index(resolutions, name="resolution"))


def read_scenery(photos, vectors, identity):
    """Predict each identity parameter from a photo's upper corners, by ridge regression cross-validated over identities.

    Parameters
    ----------
    photos : array or Tensor [N, 3, H, W], uint8.
    vectors : array or DataFrame [N, K], float. Identity vector of each photo.
    identity : array [N]. Identity of each photo; at least five identities.

    Returns
    -------
    array [K], float. Share of each parameter's variance that is explained: at most 1; 0 or less means none.
    """
    photos, vectors = torch.as_tensor(photos), np.asarray(vectors, dtype=np.float64)
    side = photos.shape[-1] // CORNER
    corners = torch.cat([photos[:, :, :side, :side], photos[:, :, :side, -side:]], dim=3).float()
    features = StandardScaler().fit_transform(functional.avg_pool2d(corners, 4).flatten(1).numpy())
    model = RidgeCV(PENALTIES, alpha_per_target=True)
    predicted = cross_val_predict(model, features, vectors, groups=np.asarray(identity), cv=GroupKFold(5))
    return 1 - ((vectors - predicted) ** 2).mean(0) / vectors.var(0)


def tabulate_promises(found, likeness, scenery):
    """Compare the measurements with the requirements on synthetic identities (``PROMISES``).

    Parameters
    ----------
    found : float in [0, 1]. Share of the photos with a detected face.
    likeness : DataFrame of `measure_likeness` at 112 and 32 px, or None without a face recognition model.
    scenery : array [K] of `read_scenery`.

    Returns
    -------
    DataFrame, one row a requirement: ``measured`` (NaN: not measured), ``promised`` (str), ``kept`` (bool, or None).
    """
    verification = [np.nan] * 3
    if likeness is not None:
        verification = [likeness.auc[112], likeness.auc[32], likeness.cosine_other[112]]
    table = pd.DataFrame({"measured": [found, *verification, np.max(scenery)]}, index=list(PROMISES))
    table["promised"] = [f"{word} {bound}" for word, bound in PROMISES.values()]
    table["kept"] = [
        None if np.isnan(value) else bool(value >= bound if word == "at least" else value <= bound)
        for value, (word, bound) in zip(table.measured, PROMISES.values(), strict=True)
    ]
    return table
