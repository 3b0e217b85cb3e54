"""How well do measures that see no identity, or a part of the picture, tell people apart at a generator's resolution?

    python bench/appearance.py --faces data/faces/synthetic --weights models/embedders/synthetic/synthetic-arcface.safetensors
    python bench/appearance.py --faces .studies/lfw-cpu/data/faces/lfw --weights ../shared/weights/mobilefacenet-casia.pth
    python bench/appearance.py --faces .studies/olivetti-cpu/data/faces/olivetti --weights ... --part all

No generator is attacked: all pairs of photos of some identities are ranked by each measure of ``ppe.attacks.appearance``, and by
a face recognition model on whole and on blanked pictures. The folder is that of a study's stage ``faces``.
"""

import argparse
from pathlib import Path

import numpy as np
from sklearn.metrics import roc_auc_score

from ppe.attacks.appearance import blank_faces, count_colours, cut_out
from ppe.config import LazyRows, load_array, load_table
from ppe.embedders import load
from ppe.embedders.embed import embed_faces
from ppe.faces import resize_faces

LEVELS = (4, 8, 16)


def select_photos(folder, part, num_identities):
    """Read the faces of up to ``num_identities`` random identities: faces, and the identity of each."""
    table = load_table(folder / "faces.csv")
    usable = table[table.detected & (table.duplicate_of == "")]
    if part != "all":
        usable = usable[usable.part == part] if part != "auxiliary" else usable[usable.role == part]
    names = np.random.default_rng(0).permutation(sorted(usable.identity.unique()))[:num_identities]
    usable = usable[usable.identity.isin(names)]
    return LazyRows(load_array(folder / "faces.npy"), usable.index), usable.identity.to_numpy()


def compare_levels(pixels):
    """Minus the squared distance of grey levels between any two pictures: [N, N]; large = alike."""
    rows = pixels.flatten(1).float()
    square = (rows**2).sum(1)
    return 2 * rows @ rows.T - square[:, None] - square


def compare_vectors(vectors):
    """Cosine between any two rows: [N, N]; large = alike."""
    return vectors @ vectors.T


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--faces", type=Path, required=True, help="folder with faces.npy and faces.csv")
    parser.add_argument("--weights", required=True, help="of the face recognition model, a mobilefacenet")
    parser.add_argument("--part", default="auxiliary", help="auxiliary, all, or a part of the auxiliary identities")
    parser.add_argument("--identities", type=int, default=120)
    parser.add_argument("--resolution", type=int, default=32)
    args = parser.parse_args()
    faces, identity = select_photos(args.faces, args.part, args.identities)
    seen = resize_faces(faces, args.resolution)
    first, second = np.triu_indices(len(identity), k=1)
    is_same = identity[first] == identity[second]
    net, general = load("mobilefacenet", args.weights), load("efficientnet_lite", "imagenet")
    without, alone = blank_faces(seen, "inner_face"), blank_faces(seen, "surroundings")
    likeness = {
        "pixel": lambda: compare_levels(seen),
        "surroundings": lambda: compare_levels(cut_out(seen, "surroundings")),
        **{f"colour_histogram, {n} levels": lambda n=n: compare_vectors(count_colours(seen, n)) for n in LEVELS},
        "general": lambda: compare_vectors(embed_faces(seen, general)),
        "inner_face": lambda: compare_levels(cut_out(seen, "inner_face")),
        "nearest": lambda: compare_vectors(embed_faces(seen, net)),
        "nearest_surroundings": lambda: compare_vectors(embed_faces(without, net)),
        "nearest_inner_face": lambda: compare_vectors(embed_faces(alone, net)),
    }
    print(f"{len(identity)} photos of {len(set(identity))} identities at {args.resolution} px, {is_same.sum()} pairs alike")
    for name, compare in likeness.items():
        print(f"{name:30s} AUC {roc_auc_score(is_same, compare().numpy()[first, second]):.3f}", flush=True)


if __name__ == "__main__":
    main()
