"""An example to audit: photos of a run's synthetic identities, whose membership is known, in the folders that an audit takes."""

import io

import numpy as np
import pandas as pd
from PIL import Image

from ppe.config import load_table, save_table
from ppe.config.storage import write_whole
from ppe.datasets.index import iter_photos, read_index

MAX_CONTROLS = 280
"""Control people of an example: enough for one of 20 people to be named alone, also where a few lose photos."""
NUM_PHOTOS = 7
"""Photos of a control person who is drawn for the example: five to compare, and two to plant."""
OTHER_SEED = 1_000_003
"""Added to a data set's seed, it gives identities that the study has never seen."""


def write_example(params, run, group, folder):
    """Draw the photos of an example: people of groups A and B, by photos no generator saw, and controls of no group.

    Where the data set has too few identities of no group, others are drawn: four controls for each identity of the data set,
    ``MAX_CONTROLS`` at most.

    Parameters
    ----------
    params : ppe.config.Params
    run : str. Of a data set with the reader ``synthetic``.
    group : str, a or b: whose generator is audited.
    folder : path. ``people/`` and ``controls/`` are written below it, and ``members.csv``: who was in the training set.

    Returns
    -------
    (path, path), the folders of people and of controls.

    Raises
    ------
    ValueError
        If the run's data set holds photos of real people, which lie in a folder already.
    """
    settings = params.runs[run]
    dataset = params.datasets[settings.dataset]
    if dataset.reader != "synthetic":
        raise ValueError(f"--people must be given: the photos of {settings.dataset} are of real people, and are not drawn")
    targets = folder / "people", folder / "controls"
    if (folder / "members.csv").is_file():
        return targets
    faces = load_table(params.faces_folder(settings.dataset) / "faces.csv")
    split = load_table(params.generators_folder(run) / "split.csv")
    chosen = choose_photos(faces, split)
    index = read_index("synthetic", seed=dataset.seed, **params.index_settings(settings.dataset))
    index = index.merge(chosen[["image_id", "part"]].rename(columns={"part": "side"}), on="image_id")
    _draw_photos(index, dataset, dataset.seed, folder)
    missing = min(MAX_CONTROLS, 4 * dataset.num_identities) - index.identity[index.side == "controls"].nunique()
    if missing > 0:
        counts = {"num_identities": missing, "photos_per_identity": NUM_PHOTOS, "num_auxiliary": 0}
        others = read_index("synthetic", seed=dataset.seed + OTHER_SEED, **counts)
        others["side"] = "controls"
        _draw_photos(others, dataset, dataset.seed + OTHER_SEED, folder, prefix="other-")
    people = chosen[chosen.part == "people"].drop_duplicates("identity")
    save_table(pd.DataFrame({"identity": people.identity, "is_member": people.group == group}), folder / "members.csv")
    return targets


def _draw_photos(index, dataset, seed, folder, prefix=""):
    """Draw the photos of ``index`` and write them to ``<folder>/<side>/<prefix><identity>/``."""
    for positions, photos in iter_photos(index, "synthetic", seed=seed, size=dataset.photo_size):
        for position, photo in zip(positions, photos, strict=True):
            row = index.iloc[position]
            buffer = io.BytesIO()
            Image.fromarray(np.asarray(photo.pixels)).save(buffer, "PNG")
            with write_whole(folder / row.side / f"{prefix}{row.identity}" / f"{position:06d}.png") as partial:
                partial.write_bytes(buffer.getvalue())


def choose_photos(faces, split):
    """Who is asked about and who is a control: DataFrame image_id, identity, group, part (people or controls).

    faces : DataFrame, faces.csv of the data set. split : DataFrame, split.csv of the run.
    """
    asked = split[(split.role == "query") & split.group.isin(["a", "b"])].assign(part="people")
    free = faces[faces.detected & (faces.duplicate_of == "") & ~faces.identity.isin(split.identity)]
    others = free[free.role == "attacked"]  # the study's models were trained on the auxiliary identities
    columns = ["image_id", "identity", "group", "part"]
    return pd.concat([asked[columns], others.assign(part="controls", group="")[columns]], ignore_index=True)
