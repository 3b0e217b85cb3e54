"""Everything a reader may change: find the root, load and check ``params.yaml``, name every path, choose the device.

``python -m ppe.params`` checks the file and prints one sentence if something in it is wrong. No other module opens
``params.yaml`` or knows a path.
"""

import fcntl
import hashlib
import json
import os
import re
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import pandas as pd
import pydantic
import yaml
from pydantic import Field

READERS = ("synthetic", "lfw", "olivetti", "celeba", "folder", "crowd")
GANS = ("fastgan", "stylegan2")
NETS = ("mobilefacenet", "facenet")
SCRATCH_STUDY = "smoke"
"""The study that the notebooks' default parameters (``tiny``) belong to when a person runs them by hand."""

TEXT_COLUMNS = (
    *("image_id", "identity", "path", "sha256", "reason", "duplicate_of", "role", "part", "group", "person", "generator"),
    *("run", "dataset", "gan", "half", "embedder", "attack", "membership", "level", "aggregate", "control", "slice"),
    *("metric", "versus", "reference"),
)
"""Columns of the study's tables that hold text, also where all of it is empty."""

MAKERS = {"data/faces": "1_faces", "models/embedders": "2_embed", "models/gans": "3_train", "data/generated": "4_generate",
          "rows": "5_attack", "scores": "5_attack", "results": "collect"}  # fmt: skip
"""Folder -> what makes its files: a notebook, or ``python -m ppe collect``; the first that is in a path counts."""

Count = Annotated[int, Field(gt=0)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Fraction = Annotated[float, Field(ge=0, le=1)]
Resolution = Literal[32, 64, 128, 256]


class _Section(pydantic.BaseModel):
    """A part of params.yaml: unknown keys and wrong types are errors, and nothing changes after loading."""

    model_config = pydantic.ConfigDict(extra="forbid", frozen=True, strict=True)


class Auxiliary(_Section):
    """Who is auxiliary, as a function of the data set alone: people with ``photos`` [low, high] photos, or the ``last`` ones."""

    photos: Annotated[list[Count], Field(min_length=2, max_length=2)] | None = None
    last: Count | None = None


class Dataset(_Section):
    """One data set: how it is read, who of it is auxiliary, which nets judge it and at which resolutions."""

    reader: Literal[READERS]
    root: str | None = None
    min_photos: Count = 1
    max_photos: Count | None = None
    num_identities: Count | None = None
    num_auxiliary: Annotated[int, Field(ge=0)] = 0
    photos_per_identity: Count | None = None
    photo_size: Annotated[int, Field(ge=32, le=1024)] = 128
    auxiliary: Auxiliary = Auxiliary()
    resolutions: Annotated[list[Resolution], Field(min_length=1)]
    embedders: Annotated[list[str], Field(min_length=1)]
    num_pairs: Annotated[int, Field(ge=20, multiple_of=2)] = 2000
    seed: Annotated[int, Field(ge=0)] = 1


class Run(_Section):
    """One line of ``runs``: a split, three GANs, and the attack on them."""

    dataset: str
    resolution: Resolution
    gan: Literal[GANS]
    num_identities: Count
    train_photos: Count
    max_train_photos: Count | None  # no default: dvc tracks it, and stops where a line lacks it
    query_photos: Count
    kimg: Positive
    num_generated: Count
    num_effort: Count | None  # likewise no default
    seed: Annotated[int, Field(ge=0)]

    @pydantic.model_validator(mode="after")
    def _are_at_least_as_many(self):
        if self.max_train_photos is not None and self.max_train_photos < self.train_photos:
            raise ValueError(f"max_train_photos={self.max_train_photos} is below train_photos={self.train_photos}: "
                             "raise it, or null for the same")
        if self.num_effort is not None and self.num_effort < self.num_generated:
            raise ValueError(f"num_effort={self.num_effort} is below num_generated={self.num_generated}: raise it, or null")
        return self


class Gan(_Section):
    """How a GAN is built and trained; the same for all runs that name it."""

    latent_dim: Count
    channel_base: Count
    channel_base_discriminator: Count
    channel_max: Count
    batch_size: Annotated[int, Field(gt=1)]
    learning_rate: Positive
    discriminator_rate: Positive
    beta1: Annotated[float, Field(ge=0, lt=1)]
    beta2: Annotated[float, Field(ge=0, lt=1)]
    r1_gamma: Annotated[float, Field(ge=0)]
    r1_interval: Count
    ema_kimg: Positive
    ema_rampup: Positive
    flip: bool
    augment: list[Literal["colour", "translation", "cutout", "ada"]]
    ada_target: Annotated[float, Field(ge=-1, le=1)] | None = None
    ada_kimg: Positive | None = None
    snapshots: Annotated[list[Fraction], Field(min_length=1)]
    checkpoint_seconds: Positive
    precision: Literal["auto", "float32", "bfloat16"]

    @pydantic.field_validator("snapshots")
    @classmethod
    def _hold_both_ends(cls, value):
        if value != sorted(set(value)) or value[-1] != 1 or value[0] != 0:
            raise ValueError("must rise from 0 to 1: the first snapshot is the untrained control, the last is attacked")
        return value

    @pydantic.model_validator(mode="after")
    def _steers_ada(self):
        if "ada" in self.augment and None in (self.ada_target, self.ada_kimg):
            raise ValueError("augment holds 'ada', which needs ada_target and ada_kimg")
        return self


class FastGan(Gan):
    """What only FastGAN has."""

    redraw_weight: Annotated[float, Field(ge=0)]


class StyleGan2(Gan):
    """What only StyleGAN2 has."""

    style_dim: Count
    mapping_layers: Count
    mapping_rate: Positive
    style_mixing: Fraction
    truncation: Fraction
    path_length_weight: Annotated[float, Field(ge=0)]
    path_length_interval: Count
    path_length_shrink: Count
    path_length_decay: Fraction


class Gans(_Section):
    """The section of each GAN that the study trains, by the GAN's name."""

    fastgan: FastGan | None = None
    stylegan2: StyleGan2 | None = None

    def __iter__(self):
        return iter(name for name in GANS if getattr(self, name) is not None)

    def __getitem__(self, name):
        return getattr(self, name)


class Embedder(_Section):
    """A face recognition net: a weights file, or settings to train it on auxiliary people."""

    net: Literal[NETS]
    weights: str | None = None
    input_size: Annotated[int, Field(ge=32, le=256)] = 112
    width: Positive = 1.0
    loss: Literal["arcface", "triplet"] = "arcface"
    people: Literal["all", "first half", "second half"] = "all"
    steps: Count | None = None
    batch_size: Count = 64
    learning_rate: Positive = 1e-3
    seed: Annotated[int, Field(ge=0)] = 1
    overlap: Literal["none", "unknown"] | Annotated[int, Field(ge=0)]

    @pydantic.model_validator(mode="after")
    def _has_weights_or_is_trained(self):
        if (self.weights is None) == (self.steps is None):
            raise ValueError(
                "needs either weights (a file, or vggface2 / casia-webface) or steps (to train it on auxiliary people)"
            )
        return self


class Attack(_Section):
    """Constants of the attack and of its statistics."""

    num_resamples: Count
    num_permutations: Count
    judged_p: Annotated[float, Field(gt=0, lt=1)]
    num_shuffles: Count
    kappas: Annotated[list[Positive], Field(min_length=1)]
    top_shares: Annotated[list[Annotated[float, Field(gt=0, le=1)]], Field(min_length=1)]
    num_games: Count
    false_match_rate: Annotated[float, Field(gt=0, lt=1)]
    verdict_fpr: Annotated[float, Field(gt=0, lt=1)]
    num_untrained: Count
    num_progress: Count
    efforts: Annotated[list[Count], Field(min_length=1)]

    @pydantic.model_validator(mode="after")
    def _can_fail(self):
        if 2 / (1 + self.num_permutations) >= self.judged_p:
            raise ValueError(f"num_permutations={self.num_permutations} cannot reach p < judged_p={self.judged_p}: raise it")
        return self


class Params(_Section):
    """The whole of ``params.yaml``, plus where it was found (``root``) and where its outputs go (``base``)."""

    study: str
    device: Literal["auto", "cpu", "cuda"] = "auto"
    runs: Annotated[dict[str, Run], Field(min_length=1)]
    datasets: Annotated[dict[str, Dataset], Field(min_length=1)]
    gans: Gans
    embedders: dict[str, Embedder]
    attack: Attack

    _file: str = "params.yaml"
    _root: Path = Path(".")
    _base: Path = Path(".")

    @pydantic.model_validator(mode="after")
    def _names_fit(self):
        for section, names in {"study": [self.study], "runs": self.runs, "datasets": self.datasets,
                               "embedders": self.embedders, "gans": self.gans}.items():
            for name in names:
                if not re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", name):
                    raise ValueError(f"{section}: name {name!r}: allowed are lower-case letters, digits and single hyphens")
        for name, run in self.runs.items():
            _check_member(f"runs.{name}.dataset", run.dataset, self.datasets)
            _check_member(f"runs.{name}.gan", run.gan, self.gans)
            _check_member(f"runs.{name}.resolution", run.resolution, self.datasets[run.dataset].resolutions)
        for name, dataset in self.datasets.items():
            for embedder in dataset.embedders:
                _check_member(f"datasets.{name}.embedders", embedder, self.embedders)
            if dataset.reader == "synthetic" and None in (dataset.num_identities, dataset.photos_per_identity):
                raise ValueError(f"datasets.{name}: reader synthetic needs num_identities and photos_per_identity")
        return self

    @property
    def root(self):
        """Folder of the repository (or of a study's copy of it)."""
        return self._root

    def index_file(self, dataset):
        """Table of a data set's photos, one row a photo."""
        return self._base / "data" / "index" / f"{self._dataset(dataset)}.csv"

    def faces_folder(self, dataset):
        """``faces.npy`` uint8 [N, 3, 112, 112] and ``faces.csv``, N rows each."""
        return self._base / "data" / "faces" / self._dataset(dataset)

    def embedders_folder(self, dataset):
        """Trained nets and their verification on people that they never saw."""
        return self._base / "models" / "embedders" / self._dataset(dataset)

    def gans_folder(self, run):
        """``split.csv``, ``members.csv``, ``losses.csv`` and the snapshots of GANs a, b and c."""
        return self._base / "models" / "gans" / self._run(run)

    def generated_folder(self, run):
        """``a.npy``, ``b.npy``, ``c.npy``: uint8 [M, 3, H, W]."""
        return self._base / "data" / "generated" / self._run(run)

    def rows_file(self, run):
        """The run's numbers, one row a number."""
        return self.results_folder() / "rows" / f"{self._run(run)}.csv"

    def scores_file(self, run):
        """The run's scores, one row a photo and set, with numbers in the place of names."""
        return self.results_folder() / "scores" / f"{self._run(run)}.csv"

    def style_file(self):
        """The look of every figure."""
        return self._root / "ppe.mplstyle"

    def index_settings(self, dataset):
        """What ``ppe.datasets.read_index`` needs besides reader, root and seed."""
        names = {"min_photos", "max_photos", "num_identities", "num_auxiliary", "photos_per_identity"}
        return self.datasets[self._dataset(dataset)].model_dump(include=names)

    def results_folder(self):
        """The study's tables and figures."""
        return self._base / "results" / self.study

    def checkpoints_folder(self, run, members):
        """Where a training keeps what it needs to go on: named by its params, photos and code, so that nothing mixes.

        members : str, anything that changes when the training photos do.
        """
        settings = self.runs[self._run(run)]
        others = {"__init__", *GANS} - {settings.gan}
        code = [file.read_bytes() for file in sorted((Path(__file__).parent / "gans").glob("*.py")) if file.stem not in others]
        run_text = settings.model_dump_json(exclude={"num_generated", "num_effort"})
        parts = [run_text, self.gans[settings.gan].model_dump_json(), members]
        digest = hashlib.sha256("\n".join(parts).encode() + b"".join(code)).hexdigest()[:16]
        return self._base / ".checkpoints" / f"{run}-{digest}"

    def dataset_root(self, dataset):
        """Folder of a data set's photos, or None where its reader draws or downloads them.

        ``$PPE_SHARED`` and ``~`` are expanded; a relative path is relative to the repository. LFW and Olivetti without
        a root are looked for in ``$PPE_SHARED/data`` first.
        """
        settings = self.datasets[self._dataset(dataset)]
        if settings.root is not None:
            return self._expand(settings.root)
        found = find_shared(self._root) / "data" / settings.reader
        return found if settings.reader in ("lfw", "olivetti") and found.is_dir() else None

    def download_folder(self):
        """Where readers put what they download."""
        return self._root / "downloads"

    def weights_file(self, embedder, dataset):
        """Path of an embedder's weights: a file, what the study trained on the data set, or a name that is fetched."""
        weights = self.embedders[embedder].weights
        if weights is None:
            return self.embedders_folder(dataset) / f"{embedder}.safetensors"
        return weights if weights in ("vggface2", "casia-webface") else self._expand(weights)

    def shared_weights(self, name):
        """Path of a net's weights in ``$PPE_SHARED/weights``, or None where there is no such file."""
        found = find_shared(self._root) / "weights" / name
        return found if found.is_file() else None

    def describe(self, run):
        """The params that make a run, as JSON text: every artefact of the run carries it."""
        settings = self.runs[self._run(run)]
        return json.dumps(
            {"study": self.study, "run": run, **settings.model_dump(), "gan_settings": self.gans[settings.gan].model_dump()}
        )

    def _expand(self, path):
        os.environ.setdefault("PPE_SHARED", str(find_shared(self._root)))
        return self._root / Path(os.path.expandvars(path)).expanduser()

    def _dataset(self, name):
        _check_member("dataset", name, self.datasets, self._file)
        return name

    def _run(self, name):
        _check_member("run", name, self.runs, self._file)
        return name


def _check_member(where, got, allowed, file=None):
    if got not in allowed:
        raise ValueError(f"{where}={got!r} is not one of {list(allowed)}" + (f" ({file})" if file else ""))


def find_root(start=None):
    """The nearest folder at or above ``start`` (default: the working folder) that holds params.yaml, dvc.yaml and ppe/."""
    start = Path(start or Path.cwd()).resolve()
    for folder in (start, *start.parents):
        if (folder / "params.yaml").is_file() and (folder / "dvc.yaml").is_file() and (folder / "ppe").is_dir():
            return folder
    raise FileNotFoundError(
        f"no params.yaml with dvc.yaml and ppe/ beside it at or above {start}: open the notebooks inside the project's folder"
    )


def find_shared(root):
    """Folder of data and weights that the repository does not hold: ``$PPE_SHARED``, or ``../shared`` beside the root."""
    return Path(os.environ.get("PPE_SHARED", Path(root).parent / "shared"))


_turn = []  # the open lock file of this process, where it is a stage of dvc


def _wait_for_turn(path, stage):
    """One stage at a time in a folder: a dvc that was killed leaves its notebook at work, and the two must not mix.

    Returns the open file; the lock lasts until the process ends.
    """
    path.parent.mkdir(exist_ok=True)
    lock = open(path, "a+")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        lock.seek(0)
        print(f"{stage}: {lock.read()} is still at work in this folder: waiting until it ends", flush=True)
        fcntl.flock(lock, fcntl.LOCK_EX)
    lock.truncate(0)
    lock.write(f"{stage} (process {os.getpid()})")
    lock.flush()
    return lock


def load_params(name=None, root=None):
    """Load and check ``params.yaml``.

    Parameters
    ----------
    name : str, optional
        A run, data set or study of the file. ``tiny`` (the notebooks' default), where the file has none, is the smallest
        run of ``studies/smoke.yaml`` and writes to ``scratch/``: reading a study must not overwrite it.
    root : path, optional
        The repository; found from the working folder if not given.

    Raises
    ------
    ValueError
        One sentence a mistake: what was got, what is allowed, where to change it.
    """
    root = Path(root) if root else find_root()
    if "DVC_STAGE" in os.environ and not _turn:
        _turn.append(_wait_for_turn(root / ".checkpoints" / "stage.lock", os.environ["DVC_STAGE"]))
    params = _read(root / "params.yaml", root, root)
    known = {params.study, *params.runs, *params.datasets}
    if name in (None, *known):
        return params
    if name == "tiny":
        return _read(root / "studies" / f"{SCRATCH_STUDY}.yaml", root, root / "scratch")
    raise ValueError(
        f"{name!r} is not a run, data set or study of params.yaml: allowed are {sorted(known)}, and 'tiny' to try a notebook"
    )


class _OnceLoader(yaml.SafeLoader):
    """Refuse a key that stands twice: the second ``runs:`` that somebody pastes would hide the first."""

    def construct_mapping(self, node, deep=False):
        seen = {}
        for key, _ in node.value:
            name, line = str(key.value), key.start_mark.line + 1
            if name in seen:
                raise yaml.YAMLError(f"{name!r} stands twice in one section (lines {seen[name]} and {line}): join the two")
            seen[name] = line
        return super().construct_mapping(node, deep)


def _read(file, root, base):
    label = str(file.relative_to(root))
    try:
        content = yaml.load(file.read_text(encoding="utf-8"), Loader=_OnceLoader)
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ValueError(f"{label} is not YAML: {' '.join(str(error).split())}") from None
    if not isinstance(content, dict):
        raise ValueError(f"{label} holds {type(content).__name__}, not sections: it needs {list(Params.model_fields)}")
    try:
        params = Params.model_validate(content)
    except pydantic.ValidationError as error:
        raise ValueError("\n".join(_say(e, label) for e in error.errors())) from None
    params._file, params._root, params._base = label, root, base
    return params


def _say(error, file):
    """One of pydantic's errors as a sentence."""
    where = ".".join(str(part) for part in error["loc"])
    message = error["msg"].removeprefix("Value error, ")
    if error["type"] == "literal_error":
        return f"{where}={error['input']!r} is not one of [{error['ctx']['expected'].replace(' or ', ', ')}] ({file})"
    if error["type"] == "extra_forbidden":
        return f"{where} is not a known key: remove it or check its spelling ({file})"
    if error["type"] == "missing":
        return f"{where} is missing ({file})"
    got = "" if isinstance(error["input"], (dict, pydantic.BaseModel)) else f"={error['input']!r}"
    return f"{where}{got}: {message} ({file})" if where else f"{message} ({file})"


@contextmanager
def write_whole(path):
    """Give a temporary name to write to, which takes the place of ``path`` once all is written.

    Raises
    ------
    OSError
        If writing fails, where there is no room for one: what stood at ``path`` is untouched, and no half is left.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    try:
        yield partial
        os.replace(partial, path)
    except OSError as error:
        reason = error.strerror or str(error)
        raise OSError(f"{path} could not be written ({reason}) and is as it was: make room, then run it again") from None
    finally:
        partial.unlink(missing_ok=True)


def save_table(table, path):
    """Write a DataFrame as CSV without its index, by a temporary name; floats to six significant digits."""
    with write_whole(path) as partial:
        table.to_csv(partial, index=False, float_format="%.6g", lineterminator="\n")


def load_table(path):
    """Read a table of the study. Text stays text (a person may be called NA) and empty text is ""; other gaps are NaN."""
    table = pd.read_csv(require_file(path), dtype=dict.fromkeys(TEXT_COLUMNS, str), keep_default_na=False, na_values=[""])
    text = [name for name in TEXT_COLUMNS if name in table]
    return table.assign(**{name: table[name].fillna("") for name in text})


def save_array(array, path):
    """Write an array as .npy by a temporary name."""
    with write_whole(path) as partial, open(partial, "wb") as file:
        np.save(file, array)


def load_array(path):
    """Map a .npy array of the study into memory, read-only; nothing is read before it is used."""
    try:
        return np.load(require_file(path), mmap_mode="r", allow_pickle=False)
    except (ValueError, EOFError):  # numpy's own words for half a file name neither the file nor what to do
        raise ValueError(f"{path} is not a whole .npy array: delete it and make it again with `make study`") from None


def require_file(path):
    """The path, if it is there; a sentence that says what makes it if not."""
    if not Path(path).exists():
        text = Path(path).as_posix()
        maker = next((maker for folder, maker in MAKERS.items() if f"/{folder}/" in text), "")
        if not maker:
            how = "run the notebooks before this one, in order, or `make study`"
        elif "/scratch/" in text:
            made = "`python -m ppe collect tiny`" if maker == "collect" else f"notebooks/{maker}.ipynb"
            how = f"run {made}, which makes it"
        else:
            how = "`make study` or `dvc repro` makes it"
        raise FileNotFoundError(f"{path} is not there yet: {how}")
    return path


def save_json(content, path):
    """Write JSON with sorted keys, by a temporary name."""
    with write_whole(path) as partial:
        partial.write_text(json.dumps(content, indent=2, sort_keys=True) + "\n")


def choose_device(device="auto"):
    """``auto`` is the GPU where there is one; asking for ``cuda`` without one is an error."""
    import torch

    if device == "cuda" and not torch.cuda.is_available():
        raise ValueError("device='cuda', but torch sees no GPU: allowed are 'auto' and 'cpu' (params.yaml)")
    return ("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else device


if __name__ == "__main__":
    try:
        loaded = load_params()
    except (ValueError, OSError) as mistake:
        sys.exit(str(mistake))
    print(f"{loaded._file}: study {loaded.study!r}, {len(loaded.runs)} runs, {len(loaded.datasets)} data sets")
