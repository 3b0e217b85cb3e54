"""What would make an audit worthless, and is refused: controls who are among the people, or inputs that are one folder."""

from itertools import combinations
from pathlib import Path

import numpy as np

from ppe.audit.copies import find_pairs
from ppe.audit.inputs import Source, open_people
from ppe.config import find_shared

STANDIN_PEOPLE, STANDIN_PHOTOS = 200, (2, 10)
"""People of LFW who stand in for controls, and how many photos each has."""


def refuse_nested(inputs):
    """Raise ValueError if two inputs are one folder, or one lies in the other: photos would be found among themselves.

    inputs : dict, generated, people, controls or training -> path or None. People and training photos may be one folder.
    """
    folders = {name: Path(path).resolve() for name, path in inputs.items() if path is not None and Path(path).is_dir()}
    for (name, one), (other, two) in combinations(folders.items(), 2):
        if one == two and {name, other} == {"people", "training"}:
            continue
        if one == two or one in two.parents or two in one.parents:
            how = "are one folder" if one == two else "lie in one another"
            raise ValueError(f"--{name} {inputs[name]} and --{other} {inputs[other]} {how}, so that the same pictures would "
                             "be on both sides: give folders that lie apart")  # fmt: skip


def refuse_overlap(sources):
    """Raise ValueError if a name is both among the people (or in the training photos) and among the controls."""
    if "controls" not in sources:
        return
    controls = set(sources["controls"].identity)
    for name in ("people", "training"):
        shared = sorted(controls & set(sources[name].identity if name in sources else ()) - {"(no identity)"})
        if shared:
            more = f" and {len(shared) - 1} more" if len(shared) > 1 else ""
            raise ValueError(
                f"{shared[0]!r}{more} is a folder of --{name} and of --controls: controls must be other people, who "
                "are surely not in the training set"
            )


def refuse_same_pictures(people, controls, model, rules, option="--people", stands_in=False):
    """Raise ValueError if a photo of the people is also one of the controls, and name the pair.

    people, controls : ppe.audit.face_sets.FaceSet; model : str; rules : the section ``audit`` of params; option : str, where the
    people come from; stands_in : bool, whether no controls were given (``find_controls``).
    """
    pairs = find_pairs(people, controls, model, copy_cosine=rules.copy_cosine, same_picture=rules.same_picture)
    rows = np.flatnonzero(pairs.is_copy)
    if len(rows):
        pair = people.name[rows[0]], controls.name[pairs.other[rows[0]]]
        more = f", and {len(rows) - 1} more pairs" if len(rows) > 1 else ""
        whose, cure = "--controls", "Remove this person from the controls"
        if stands_in:
            whose, cure = "LFW, whose people stand in for controls,", "Give --controls"
        raise ValueError(
            f"the photo {pair[0]!r} of {option} and {pair[1]!r} of {whose} are the same picture{more}: controls "
            f"must be other people, who were not in the training set. {cure}"
        )


def find_controls(root, seed, warnings, sources):
    """Stand-ins where no controls are given: people of LFW, if it is at hand; None otherwise. Adds a warning.

    sources : dict of Source; who is among people or training photos does not stand in.
    """
    folder = find_shared(root) / "data" / "lfw"
    if not folder.is_dir():
        warnings.append("No control people were given, and no others are at hand: there are no p-values, only ranks and copies.")
        return None
    source = open_people(folder, "--controls")
    names, size = np.unique(np.array(source.identity), return_counts=True)
    asked = sorted({str(name) for key in {"people", "training"} & set(sources) for name in sources[key].identity})
    names = names[(size >= STANDIN_PHOTOS[0]) & (size <= STANDIN_PHOTOS[1]) & ~np.isin(names, asked)]
    chosen = set(np.random.default_rng(seed).permutation(names)[:STANDIN_PEOPLE])
    warnings.append(
        f"No control people were given: {len(chosen)} people of LFW stand in for them. They do not resemble your people, "
        "so p-values may speak of the photos and not of a leak."
    )
    return select_rows(source, [i for i, name in enumerate(source.identity) if name in chosen])


def select_rows(source, rows):
    """Chosen photos of a source, as a source."""

    def read(start, stop):
        return [source.read(row, row + 1)[0] for row in rows[start:stop]]

    def digest(start, stop):
        return "".join(source.digest(row, row + 1) for row in rows[start:stop])

    identity = [source.identity[row] for row in rows]
    return Source(f"{len(rows)} photos of {len(set(identity))} people of LFW", [source.names[row] for row in rows], read, digest,
                  identity)  # fmt: skip
