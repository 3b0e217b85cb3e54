"""Write a study for somebody's own photos: count identities and photos, propose what fits, and say why."""

import json
import re
from typing import NamedTuple

import numpy as np
import yaml
from PIL import Image

from ppe.config import find_shared, load_params, write_whole
from ppe.config.params import load_study
from ppe.config.paths import expand_user
from ppe.config.schema import Auxiliary
from ppe.datasets.index import read_index
from ppe.datasets.readers import NO_IDENTITY
from ppe.pipeline.preflight import CHECKS, OF_RUNS, check_dataset, count_pairs, find_shortage, list_auxiliary, list_photos

PHOTOS = (5, 4, 3, 2)
"""Training photos of an identity, and as many query photos: the most that leaves enough identities is proposed."""
MIN_GROUP, WANTED_GROUP, LARGE_GROUP = 4, 10, 40
"""Identities a group: the fewest for which a permutation test can support a claim, the fewest that have an interval, and the most
that are proposed."""
SPARE = 0.95
"""Share of the identities that groups may use: in some photos no face will be found."""
RUN_MINUTES = 8
"""Minutes of two cores that a run takes (FastGAN at 32 px, 32 kimg)."""
WANTED_AUXILIARY, MIN_AUXILIARY = 40, 8
"""Auxiliary identities that train and check a face recognition model: wanted, and at least. A fifth of them, two, tunes the
attacks."""
ADVISED_AUXILIARY = 30
"""Auxiliary identities below which ``python -m ppe new`` says that they are few."""
SEED = 1
"""Seed of the data set, which divides the auxiliary identities; that of ``ppe.config.schema.Dataset`` where none is given."""
MAX_PAIRS = 2000
SHARE_AUXILIARY = 0.4
"""Share of the identities that become auxiliary where all have about as many photos."""


class Plan(NamedTuple):
    """One way to divide the identities of a folder."""

    photos: int
    auxiliary: dict
    group: int
    num_auxiliary: int
    num_pairs: int

    @property
    def rank(self):
        """What makes a plan better, first things first."""
        group, auxiliary = min(self.group, WANTED_GROUP), min(self.num_auxiliary, WANTED_AUXILIARY)
        return group >= WANTED_GROUP, auxiliary >= WANTED_AUXILIARY, group, auxiliary, self.photos


def write_study(*, name, root, reader="folder", quick=False, project):
    """Write ``studies/<name>.yaml`` for a folder of photos, and print what was chosen and why.

    Parameters
    ----------
    name : str
        Of the study and of its data set: lower-case letters, digits and single hyphens.
    root : path
        ``<root>/<identity>/<photo>``.
    reader : str. As in ``datasets`` of params.yaml.
    quick : bool
        The sizes of ``studies/smoke.yaml``, and no published model: does all of it run on these photos? Numbers mean nothing.
    project : path

    Returns
    -------
    path of the file.

    Raises
    ------
    ValueError
        In one sentence, if the name is taken or not allowed, or the folder has too few identities or photos.
    """
    file, root = project / "studies" / f"{name}.yaml", expand_user(root).resolve()
    if not re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", name):
        raise ValueError(f"name {name!r}: allowed are lower-case letters, digits and single hyphens")
    if not isinstance(yaml.safe_load(name), str) or re.fullmatch(r"\d+e\d+", name):
        raise ValueError(f"name {name!r}: YAML takes it for a number, a date or a truth value: add a letter, as in my-{name}")
    params = load_params(root=project)
    taken = {params.study, *params.datasets, *params.runs, "tiny"}
    if file.exists() or name in taken or (project / "results" / name).exists():
        raise ValueError(f"{name!r} is taken (studies/, results/, params.yaml): choose another name, or edit studies/{name}.yaml")
    if "$" in str(root):
        raise ValueError(f"the folder {root} has a $ in its name, which params.yaml would take for a variable: rename it")
    try:
        index = read_index(reader, root=root)
    except (ValueError, FileNotFoundError) as mistake:  # it speaks of params.yaml, which nobody has written yet
        raise type(mistake)(re.sub(r" \(params\.yaml[^)]*\)|, or set reader.*", "", str(mistake)) + " (--root)") from None
    plan = plan_study(index)
    found = {"published": [] if quick else list_published(project), "resolution": 32 if quick else choose_resolution(index, root)}
    text, said = describe_study(name, root, reader, plan._replace(group=min(plan.group, MIN_GROUP)) if quick else plan, **found)
    if quick:
        text, said = _shrink(text, project), ["a quick trial, with toys for models: its numbers mean nothing"]
    with write_whole(file) as partial:
        partial.write_text(text, encoding="utf-8")
    try:
        params = load_study(name, project)
        check_dataset(index, name, params.datasets[name], params.runs, params.embedders)
    except ValueError:
        file.unlink()
        raise
    known = index[index.readable & (index.identity != NO_IDENTITY)]
    counts = f"{len(known)} photos of {known.identity.nunique()} identities"
    print(f"{root}: {counts}, {_say_unreadable(index)}")
    print("\n".join(f"- {line}" for line in said))
    print(f"Wrote studies/{name}.yaml. Next: make study STUDY={name} (or python -m ppe study {name})")
    return file


def plan_study(index):
    """Divide identities into those that can be attacked and auxiliary ones: the best ``Plan``.

    index : DataFrame of ``read_index``. Raises ValueError if no plan makes a study.
    """
    usable = list_photos(index, Auxiliary(last=1))
    counts = usable.identity[usable.readable & (usable.duplicate_of == "")].value_counts()  # without an identity: never readable
    share = round(SHARE_AUXILIARY * len(counts))
    last = max(1, min(len(counts), max(MIN_AUXILIARY, share)))
    choices = [(photos, auxiliary) for photos in PHOTOS for auxiliary in ({"photos": [2, 2 * photos - 1]}, {"last": last})]
    plans = [plan for choice in choices if (plan := _plan(index, *choice)) is not None]
    said = f" ({_say_unreadable(index)})" if not index.readable.all() else ""
    if not plans:
        few = {n: int((counts >= n).sum()) for n in (2, 2 * PHOTOS[-1], 2 * PHOTOS[0])}
        raise ValueError(
            f"of {len(counts)} identities{said} {few[2]} have at least 2 photos, {few[4]} at least 4 and {few[10]} at least 10, "
            f"but a study needs 3 groups of at least {MIN_GROUP} identities with 2 + 2 photos each, and {MIN_AUXILIARY} others "
            "with 2 or more"
        )
    return max(plans, key=lambda plan: plan.rank)


def choose_resolution(index, root, num_looked_at=50):
    """Pixels a side of the generated faces: 64 where photos are large and there is a GPU, else 32."""
    import torch

    files = index[index.readable].path.iloc[:: max(1, len(index) // num_looked_at)]
    sides = [min(Image.open(root / path).size) for path in files if path]
    return 64 if sides and np.median(sides) >= 200 and torch.cuda.is_available() else 32


def describe_study(name, root, reader, plan, *, published, resolution):
    """The text of an overlay, and what it says in a few lines: (str, list of str)."""
    two = plan.num_auxiliary >= WANTED_AUXILIARY
    embedders = [*published, f"{name}-arcface"] + [f"{name}-triplet"] * two
    sizes = [min(plan.group, WANTED_GROUP), *([min(plan.group, LARGE_GROUP)] if plan.group >= 2 * WANTED_GROUP else [])]
    few = "" if sizes[0] >= WANTED_GROUP else f": below {WANTED_GROUP} there is no interval, only a permutation test"
    models = "two face recognition models" if two else "a face recognition model"
    weak = "" if published else (". Models trained on so few are seldom sound (AUC of 0.90): without published weights there "
                                   "will probably be no verdict (docs/own-photos.md)")  # fmt: skip
    said = [
        f"{plan.photos} training and {plan.photos} query photos of each attacked identity: the most that leaves enough of them",
        f"groups of {' and '.join(map(str, sizes))} identities{few}",
        f"{plan.num_auxiliary} auxiliary identities ({_say_auxiliary(plan.auxiliary)}), never attacked: they train and check "
        f"{models}{weak}",
        *([f"{plan.num_auxiliary} are fewer than the {ADVISED_AUXILIARY} advised: about {plan.num_auxiliary // 3} people check "
           "the models, and fewer tune the attacks. More people with two photos each would make both firmer"]
          if plan.num_auxiliary < ADVISED_AUXILIARY else []),
        *[f"{model} chooses among several faces of a photo, and flags photos of somebody else" for model in published[:1]],
        f"{resolution} px; 64 px takes three to four times as long" if resolution == 32 else "64 px, since there is a GPU",
        f"about {RUN_MINUTES * len(sizes) + 5} minutes on two cores. Executed notebooks in .studies/{name}/ will show faces: "
        "keep them to yourself",
    ]
    common = {"dataset": name, "resolution": resolution, "generator": "fastgan", "train_photos": plan.photos,
              "max_train_photos": "null", "query_photos": plan.photos, "kimg": 32, "num_generated": 3000, "num_effort": "null",
              "seed": 1}  # fmt: skip
    trained = "net: mobilefacenet, input_size: 48, width: 0.5, steps: 400, learning_rate: 0.004, overlap: none"
    check = f",\n    identity_check: {published[0]}" if published else ""
    parts = {"arcface": "first half", "triplet": "second half"} if two else {"arcface": "all"}
    lines = [
        f"# {said[0]}.",
        f"study: {name}",
        "# kimg and num_generated are those of the study on LFW (studies/lfw-cpu.yaml).",
        "run_defaults: {" + ", ".join(f"{key}: {value}" for key, value in common.items()).replace(", query", ",\n  query") + "}",
        f"runs:   # {said[1]}",
        *(f"  {name}-{resolution}-fastgan-{size}: {{num_identities: {size}}}" for size in sizes),
        f"datasets:   # {_say_auxiliary(plan.auxiliary)} are auxiliary: never attacked",
        f"  {name}: {{reader: {reader}, root: {json.dumps(root.as_posix())}, auxiliary: {_flow(plan.auxiliary)},",
        f"    resolutions: [{resolution}], embedders: [{', '.join(embedders)}], num_pairs: {plan.num_pairs}{check}}}",
        "embedders:   # trained on the auxiliary identities",
        *(f"  {name}-{loss}: {{{trained},\n    loss: {loss}, identities: {part}, seed: {seed}}}"
          for seed, (loss, part) in enumerate(parts.items(), 1)),
    ]  # fmt: skip
    return "\n".join(lines) + "\n", said


def _plan(index, photos, auxiliary):
    """The ``Plan`` of so many training and query photos, and these auxiliary identities; None if they are not enough."""
    table = list_photos(index, Auxiliary(**auxiliary))
    usable = table[table.readable & (table.duplicate_of == "")]
    able = int((usable.identity[usable.role == "attacked"].value_counts() >= 2 * photos).sum())
    group, num_auxiliary = int(SPARE * able / 3), usable.identity[usable.role == "auxiliary"].nunique()
    if group < MIN_GROUP or num_auxiliary < MIN_AUXILIARY:
        return None
    others = list_auxiliary(table, SEED)
    num_pairs = min(MAX_PAIRS, 2 * int(SPARE**2 * min(count_pairs(others))))  # a pair needs both of its faces
    is_enough = num_pairs >= 20 and find_shortage(others, (CHECKS, *OF_RUNS)) is None
    return Plan(photos, auxiliary, group, num_auxiliary, num_pairs) if is_enough else None


def _say_unreadable(index):
    """How many files cannot be read, and the first of them: str."""
    lost = index[~index.readable]
    first = f" (first: {lost.image_id.iloc[0]}: {lost.reason.iloc[0]})" if len(lost) else ""
    return f"{len(lost)} files that cannot be read{first}"


def _shrink(text, project):
    """The text of a study with the sizes of ``studies/smoke.yaml``."""
    smoke = yaml.safe_load((project / "studies" / "smoke.yaml").read_text(encoding="utf-8"))
    sizes = {key: smoke["runs"]["tiny"][key] for key in ("kimg", "num_generated")}
    sizes |= {key: smoke["embedders"]["synthetic-arcface"][key] for key in ("steps", "learning_rate")}
    for key, value in sizes.items():
        text = re.sub(rf"\b{key}: [\d.]+", f"{key}: {value}", text)
    text = text.replace("# kimg and num_generated are those of the study on LFW (studies/lfw-cpu.yaml).",
                        "# A quick trial, with the sizes of studies/smoke.yaml: its numbers mean nothing.")  # fmt: skip
    sections = {key: smoke[key] for key in ("generators", "attack")}
    text = text.replace("\nstudy: ", "\ntoy: true   # left out of the tables of README.md and docs/\nstudy: ", 1)
    return text + yaml.safe_dump(sections, sort_keys=False, width=130, default_flow_style=None)


def _say_auxiliary(auxiliary):
    if auxiliary.get("photos"):
        return f"those with {auxiliary['photos'][0]} to {auxiliary['photos'][1]} photos"
    return f"the last {auxiliary['last']} by name"


def _flow(mapping):
    return "{" + ", ".join(f"{key}: {value}" for key, value in mapping.items()) + "}"


def list_published(project):
    """Published face recognition models of params.yaml whose weights are on this machine: a list of str, the best first."""
    from ppe.embedders.dlib import find_installed  # here, because it imports torch

    has_file = (find_shared(project) / "weights" / "mobilefacenet-casia.pth").is_file()
    return ["dlib"] * (find_installed() is not None) + ["mobilefacenet-casia"] * has_file
