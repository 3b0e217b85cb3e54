"""Quality of the faces that are published: are they faces, and do they differ?"""

import numpy as np
import pandas as pd

from ppe.attacks.selection import MEMBER_GROUPS
from ppe.evaluation.tables import label_rows
from ppe.faces import detect_faces
from ppe.generators.sampling import enlarge_faces

NUM_LOOKED_AT = 200
"""Faces of each generator that the detector looks at, and at most as many photos."""


def judge_published(drawn, generated, asked, query, photos, members, *, embedder, device="cpu"):
    """List rows on the published faces of generators A and B, and on photos of the same identities.

    Parameters
    ----------
    drawn : dict, group -> array or LazyRows uint8 [M, 3, H, H]. Published faces.
    generated : dict, group -> Tensor [M, D], float32, unit L2 norm. Their embeddings.
    asked : array or Tensor uint8 [N, 3, H, H]; query : Tensor [N, D], float32, unit L2 norm. The photos and their embeddings.
    photos : DataFrame, N rows: image_id, group; members : DataFrame, written by the trainer.
    embedder : str
    device : str or torch.device. Of the detector.

    Returns
    -------
    DataFrame of rows
        ``detected_share``, in [0, 1]: in how many the detector finds a face; and ``diversity``, in [0, 2]: the mean cosine
        distance of two of them, large = different. ``versus``: empty for generated faces, ``unseen photos`` for photos that were
        not used for training.
    """
    is_unseen = ~photos.image_id.isin(members.image_id)
    rows = []
    for group in MEMBER_GROUPS:
        own = np.flatnonzero((photos.group == group) & is_unseen)
        known = {"num_members": photos.identity.iloc[own].nunique(), "num_non_members": np.nan}
        sets = {"": (drawn[group][:NUM_LOOKED_AT], generated[group]), "unseen photos": (asked[own[:NUM_LOOKED_AT]], query[own])}
        for versus, (faces, vectors) in sets.items():
            found = detect_faces(list(enlarge_faces(faces, faces.shape[-1])), device).detected.mean()
            values = {"detected_share": float(found), "diversity": measure_diversity(vectors)}
            rows += [{**known, "member_group": group, "versus": versus, "metric": m, "value": v} for m, v in values.items()]
    table = pd.DataFrame(rows)
    pooled = table.groupby(["versus", "metric"], as_index=False, sort=False)
    pooled = pooled.agg({"value": "mean", "num_members": "min", "num_non_members": "min"}).assign(member_group="pooled")
    parts = pd.concat([table, pooled], ignore_index=True).groupby("versus", sort=False)
    return pd.concat(
        [label_rows(part.drop(columns="versus").to_dict("records"), embedder=embedder, versus=name) for name, part in parts],
        ignore_index=True,
    )


def measure_diversity(vectors):
    """Compute the mean cosine distance of two different rows.

    vectors : Tensor [M, D], float32, unit L2 norm. Returns float in [0, 2], large = different; NaN if M is 1.
    """
    count = len(vectors)
    if count < 2:
        return np.nan
    return 1 - (float(vectors.double().sum(0).square().sum()) - count) / (count * (count - 1))
