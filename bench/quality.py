"""Does a generator leak appearance and no identity because of its kind, or because its faces are still far from photos?

    python bench/quality.py .studies/lfw-epochs-cpu:lfw-32-fastgan-10-seed1 .studies/lfw-stylegan2-cpu:lfw-32-stylegan2-10-seed1

A study compares its generators at equal kimg, where one may be far better than another. Here every snapshot of a run is asked:
how far are its faces from photos (kernel distance in the space of the face recognition model), how well does the model tell
members, and by how much does it lead the best of the measures that see no identity? Reads what ``5_attack`` left of the runs.
"""

import argparse
from pathlib import Path

import numpy as np
import torch

from ppe.attacks.inputs import build_views
from ppe.attacks.queries import score_photos
from ppe.attacks.rivals import RIVALS
from ppe.attacks.selection import MEMBER_GROUPS, select_queries
from ppe.config import LazyRows, load_array, load_params, load_table
from ppe.embedders import load, load_embedder
from ppe.embedders.embed import embed_faces
from ppe.faces import resize_faces
from ppe.generators.sampling import load_generator, sample_faces
from ppe.statistics.intervals import bootstrap_identities, compare_attacks
from ppe.statistics.set_distances import compute_kernel_distance


def judge_snapshot(files, run, known):
    """One line about a snapshot of generators A and B."""
    settings, net, query, photos = run["settings"], known["net"], run["query"], run["photos"]
    kind = settings.generator, settings.resolution, run["family"]
    generators = {group: load_generator(file, *kind) for group, file in files.items()}
    sets = {group: torch.cat(list(sample_faces(one, range(known["count"])))) for group, one in generators.items()}
    vectors = {group: embed_faces(faces, net) for group, faces in sets.items()}
    seen, looks = build_views(run["asked"], {**sets, "c": sets["a"][:1]}, net, known["general"])
    looks = {group: looks[group] for group in MEMBER_GROUPS}
    nearest = {group: {"generated_embeddings": rows} for group, rows in vectors.items()}
    scores = score_photos(photos, {"query_embeddings": query}, nearest, ["nearest"], known["name"])
    model = select_queries(scores, run["members"], "identity_membership")
    others = score_photos(photos, seen, looks, list(RIVALS))
    rivals = {name: select_queries(others[others.attack == name], run["members"], "identity_membership") for name in RIVALS}
    aucs = {name: bootstrap_identities(table)["value"] for name, table in rivals.items()}
    best = max(aucs, key=aucs.get)
    own, lead = bootstrap_identities(model), compare_attacks(model, rivals[best])
    is_unseen = ~photos.image_id.isin(run["members"].image_id)
    distance = np.mean([compute_kernel_distance(vectors[g], query[torch.tensor(np.flatnonzero(is_unseen & (photos.group == g)))])
                        for g in MEMBER_GROUPS])  # fmt: skip
    return (f"kernel distance {distance:.3f}; {known['name']} {own['value']:.3f} [{own['low']:.3f}, {own['high']:.3f}]; "
            f"best rival {best} {aucs[best]:.3f}; lead {lead['value']:+.3f} [{lead['low']:.3f}, {lead['high']:.3f}]")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("runs", nargs="+", help="<folder of a study>:<run>")
    parser.add_argument("--count", type=int, default=3000, help="generated faces of each snapshot (3000)")
    parser.add_argument("--embedder", help="of the data set (its first)")
    options = parser.parse_args()
    for folder, name in (run.rsplit(":", 1) for run in options.runs):
        params = load_params(root=Path(folder).resolve())
        settings, attack = params.runs[name], params.attack_folder(name)
        embedder = options.embedder or params.datasets[settings.dataset].embedders[0]
        known = {"net": load_embedder(params, embedder, settings.dataset), "general": load("efficientnet_lite", "imagenet"),
                 "name": embedder, "count": options.count}  # fmt: skip
        table, photos = load_table(params.faces_folder(settings.dataset) / "faces.csv"), load_table(attack / "photos.csv")
        row = {image_id: number for number, image_id in enumerate(table.image_id)}
        faces = LazyRows(load_array(params.faces_folder(settings.dataset) / "faces.npy"), photos.image_id.map(row))
        run = {"settings": settings, "family": params.generator_settings(name), "photos": photos,
               "members": load_table(params.generators_folder(name) / "members.csv"),
               "asked": resize_faces(faces, settings.resolution),
               "query": torch.tensor(load_array(attack / f"{embedder}-query.npy"))}  # fmt: skip
        snapshots = {g: sorted((params.generators_folder(name) / g).glob("snapshot-*.safetensors"))[1:] for g in MEMBER_GROUPS}
        for pair in zip(*snapshots.values(), strict=True):
            kimg = int(pair[0].stem.split("-")[1]) / 1000
            print(f"{name}, {kimg:g} kimg: {judge_snapshot(dict(zip(snapshots, pair, strict=True)), run, known)}", flush=True)


if __name__ == "__main__":
    main()
