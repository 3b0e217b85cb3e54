"""The attack's constants, set on auxiliary people before anybody is attacked: the attack is played among them, with photos
of some of them in the place of generated faces. No attacked person and no GAN has a say.
"""

import numpy as np
import pandas as pd

from ppe.attacks import score_identity_density, score_identity_top_k
from ppe.resampling import resample_people


def find_radius(embeddings, identity, false_match_rate):
    """Find the cosine distance within which a given share of the pairs of strangers lies: epsilon of ``monte_carlo``.

    Parameters
    ----------
    embeddings : Tensor [N, D], float32, unit L2 norm. Photos of auxiliary people at the GAN's resolution.
    identity : sequence of str, N.
    false_match_rate : float, in (0, 1).

    Returns
    -------
    epsilon : float, in [0, 2].
    """
    person = pd.factorize(np.asarray(identity))[0]
    cosine = (embeddings @ embeddings.T).cpu().numpy()[person[:, None] != person[None]]
    if not len(cosine):
        raise ValueError("all photos are of one person, but the radius is a share of the pairs of strangers")
    return 1 - float(np.quantile(cosine, 1 - false_match_rate))


def rehearse_attack(embeddings, identity, *, kappas, top_ks, num_generated):
    """Play the attack among auxiliary people, and see how well it does with each constant.

    Every other person is in half a, the rest in half b. The first half of a person's photos stand in for generated faces
    of their half, the others are asked about under both halves, as in the attack itself. A real half has far fewer photos
    than a GAN draws faces, so ``top_k`` is rehearsed as the same share of the faces: k * (photos shown) / num_generated.
    (Photos are clearer than generated faces, so the choice may lean to near neighbours alone.)

    Parameters
    ----------
    embeddings : Tensor [N, D], float32, unit L2 norm. Photos of auxiliary people at the GAN's resolution.
    identity : sequence of str, N. People with a single photo are left out.
    kappas : sequence of float. Concentrations of ``identity_density``.
    top_ks : sequence of int. Numbers of nearest faces of ``identity_top_k``.
    num_generated : int. Faces that the attack will look at.

    Returns
    -------
    DataFrame: constant (``kappa`` or ``top_k``), value, auc (mean over the halves), a row a candidate, smallest first.

    Raises
    ------
    ValueError
        If fewer than two people have two photos.
    """
    photos = pd.DataFrame({"identity": np.asarray(identity)})
    count = photos.groupby("identity")["identity"].transform("size")
    photos = photos.assign(is_shown=photos.groupby("identity").cumcount() < count // 2)[count > 1]
    photos["half"] = np.where(pd.factorize(photos.identity, sort=True)[0] % 2, "b", "a")
    if photos.identity.nunique() < 2:
        raise ValueError(f"{photos.identity.nunique()} auxiliary people have two photos, but a rehearsal needs at least 2: "
                         "raise num_auxiliary or widen auxiliary (params.yaml: datasets)")
    rows = []
    for value in sorted(kappas):
        auc = _play(photos, embeddings, lambda arrays, k=value: score_identity_density(**arrays, kappa=k))
        rows.append({"constant": "kappa", "value": value, "auc": auc})
    for value in sorted(top_ks):
        share = value / num_generated
        auc = _play(photos, embeddings, lambda arrays, s=share: score_identity_top_k(**arrays, top_k=_count(arrays, s)))
        rows.append({"constant": "top_k", "value": value, "auc": auc})
    return pd.DataFrame(rows)


def choose_constants(rehearsed):
    """The value of each constant with the largest AUC; the smaller where two do equally well. Returns dict, name -> value."""
    best = rehearsed.assign(auc=rehearsed.auc.round(6)).sort_values(["auc", "value"], ascending=[False, True])
    best = best.drop_duplicates("constant").set_index("constant").value
    return {"kappa": float(best["kappa"]), "top_k": int(best["top_k"])}


def _play(photos, embeddings, score):
    """AUC of the asked photos under both halves."""
    asked = photos[~photos.is_shown]
    parts = []
    for half in "ab":
        shown = photos.index[photos.is_shown & (photos.half == half)]
        arrays = {"query_embeddings": embeddings[asked.index], "generated_embeddings": embeddings[shown]}
        queries = {"half": half, "identity": asked.identity, "is_member": asked.half == half, "score": score(arrays)}
        parts.append(pd.DataFrame(queries))
    return resample_people(pd.concat(parts, ignore_index=True), num_resamples=0)[0]


def _count(arrays, share):
    return max(1, round(share * len(arrays["generated_embeddings"])))
