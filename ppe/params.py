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

from ppe.settings import GANS, Attack, Dataset, Dose, Embedder, Gans, Run, Section, Square

SAME_AS_CROWDS = (
    *("dataset", "resolution", "gan", "num_photos", "max_crowd_photos", "query_photos", "num_null", "kimg", "num_generated"),
    "seed",
)
"""What a square and the crowds that set its thresholds have in common, so that only an over-represented person differs."""
SCRATCH_STUDY = "smoke"
"""The study that the notebooks' default parameters (``tiny``) belong to when a person runs them by hand."""

TEXT_COLUMNS = (
    *("image_id", "identity", "path", "sha256", "reason", "duplicate_of", "role", "part", "group", "person", "generator"),
    *("run", "dataset", "gan", "half", "embedder", "attack", "membership", "level", "aggregate", "control", "slice"),
    *("metric", "versus", "reference", "square", "kind", "crowds", "measure"),
)
"""Columns of the study's tables that hold text, also where all of it is empty."""

MAKERS = {"data/faces": "1_faces", "models/embedders": "2_embed", "models/gans": "3_train", "data/generated": "4_generate",
          "models/crowds": "crowd", "data/crowds": "crowd", "data/crowd_embeddings": "embed-crowd", "rows/doses": "8_doses",
          "rows": "5_attack", "scores": "5_attack", "results": "collect"}  # fmt: skip
"""Folder -> what makes its files: a notebook, or a command of ``python -m ppe``; the first that is in a path counts."""


class Params(Section):
    """The whole of ``params.yaml``, plus where it was found (``root``) and where its outputs go (``base``)."""

    study: str
    device: Literal["auto", "cpu", "cuda"] = "auto"
    runs: Annotated[dict[str, Run], Field(min_length=1)]
    datasets: Annotated[dict[str, Dataset], Field(min_length=1)]
    gans: Gans
    embedders: dict[str, Embedder]
    attack: Attack
    squares: dict[str, Square] = {}
    dose: Dose | None = None

    _file: str = "params.yaml"
    _root: Path = Path(".")
    _base: Path = Path(".")

    @pydantic.model_validator(mode="after")
    def _names_fit(self):
        for section, names in {"study": [self.study], "runs": self.runs, "datasets": self.datasets,
                               "embedders": self.embedders, "gans": self.gans, "squares": self.squares}.items():
            for name in names:
                if not re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", name):
                    raise ValueError(f"{section}: name {name!r}: allowed are lower-case letters, digits and single hyphens")
        for section in ("runs", "squares"):
            for name, run in getattr(self, section).items():
                _check_member(f"{section}.{name}.dataset", run.dataset, self.datasets)
                _check_member(f"{section}.{name}.gan", run.gan, self.gans)
                _check_member(f"{section}.{name}.resolution", run.resolution, self.datasets[run.dataset].resolutions)
        if self.squares and self.dose is None:
            raise ValueError("squares need the section dose: its constants are explained in params.yaml")
        for name, square in self.squares.items():
            self._check_crowds(name, square)
        for name, dataset in self.datasets.items():
            for embedder in dataset.embedders:
                _check_member(f"datasets.{name}.embedders", embedder, self.embedders)
            if dataset.reader == "synthetic" and None in (dataset.num_identities, dataset.photos_per_identity):
                raise ValueError(f"datasets.{name}: reader synthetic needs num_identities and photos_per_identity")
        return self

    def _check_crowds(self, name, square):
        """The crowds that set a square's thresholds are its own but for the people who stand out."""
        allowed = [other for other, settings in self.squares.items() if settings.kind == "none"]
        _check_member(f"squares.{name}.crowds", square.crowds, allowed)
        crowds = self.squares[square.crowds]
        for key in SAME_AS_CROWDS:
            if getattr(square, key) != getattr(crowds, key):
                raise ValueError(f"squares.{name}.{key}={getattr(square, key)!r} differs from squares.{square.crowds}.{key}="
                                 f"{getattr(crowds, key)!r}, whose crowds set its thresholds: make them equal")
        if square.doses[-1] != crowds.doses[-1] or square.num_subjects > crowds.num_subjects:
            raise ValueError(f"squares.{name} has up to {square.num_subjects} people at dose {square.doses[-1]}, but the crowds "
                             f"of squares.{square.crowds} leave out {crowds.num_subjects} who have photos for dose "
                             f"{crowds.doses[-1]}: give both one largest dose, and no more people to the first")

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

    def crowds_folder(self, square):
        """``split.csv``, ``members.csv``, ``doses.csv`` and the snapshots of a square's GANs."""
        return self._base / "models" / "crowds" / self._square(square)

    def crowd_faces_folder(self, square):
        """``<group>.npy`` for each GAN of a square: uint8 [M, 3, H, W]."""
        return self._base / "data" / "crowds" / self._square(square)

    def crowd_embeddings_folder(self, square):
        """``<embedder>.npy``: float32 [GANs, M, D], what a net sees in the faces of a square's GANs, sorted by group."""
        return self._base / "data" / "crowd_embeddings" / self._square(square)

    def dose_rows_file(self, square):
        """The square's numbers, one row a number; beside the runs' rows, since that folder exists in every study."""
        return self.results_folder() / "rows" / "doses" / f"{self._square(square)}.csv"

    def style_file(self):
        """The look of every figure."""
        return self._root / "ppe.mplstyle"

    def index_settings(self, dataset):
        """What ``ppe.datasets.read_index`` needs besides reader, root and seed."""
        names = {"min_photos", "max_photos", "num_identities", "num_auxiliary", "photos_per_identity", "num_prominent",
                 "photos_per_prominent"}
        return self.datasets[self._dataset(dataset)].model_dump(include=names)

    def results_folder(self):
        """The study's tables and figures."""
        return self._base / "results" / self.study

    def claims_files(self):
        """The verdicts of every study that has some, study -> path; what a try-out says means nothing, and is left out."""
        files = sorted((self._root / "results").glob("*/claims.csv"))
        return {file.parent.name: file for file in files if file.parent.name != SCRATCH_STUDY}

    def checkpoints_folder(self, run, members):
        """Where a training keeps what it needs to go on: named by its params, photos and code, so that nothing mixes.

        members : str, anything that changes when the training photos do.
        """
        return self._base / ".checkpoints" / f"{run}-{self._digest_training(self.runs[self._run(run)], members)}"

    def square_checkpoints_folder(self, square, members):
        """The same for the GANs of a square."""
        digest = self._digest_training(self.squares[self._square(square)], members)
        return self._base / ".checkpoints" / "squares" / f"{square}-{digest}"

    def _digest_training(self, settings, members):
        others = {"__init__", *GANS} - {settings.gan}
        code = [file.read_bytes() for file in sorted((Path(__file__).parent / "gans").glob("*.py")) if file.stem not in others]
        text = settings.model_dump_json(exclude={"num_generated", "num_effort", "crowds", "num_null"})
        parts = [text, self.gans[settings.gan].model_dump_json(), members]
        return hashlib.sha256("\n".join(parts).encode() + b"".join(code)).hexdigest()[:16]

    def list_checkpoints(self, run):
        """Folders in which the run was trained, of any recipe."""
        return sorted((self._base / ".checkpoints").glob(f"{self._run(run)}-{'[0-9a-f]' * 16}"))

    def list_square_checkpoints(self, square):
        """The same for the GANs of a square."""
        return sorted((self._base / ".checkpoints" / "squares").glob(f"{self._square(square)}-{'[0-9a-f]' * 16}"))

    def seconds_file(self, stage, square):
        """Where a stage without a notebook notes what it took; no output, since it differs from time to time."""
        return self._base / ".checkpoints" / "seconds" / f"{stage}-{self._square(square)}.json"

    def executed_folder(self):
        """Notebooks with their outputs."""
        return self._root / "executed"

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
        return self._describe({"run": run}, self.runs[self._run(run)])

    def describe_square(self, square):
        """The same for a square."""
        return self._describe({"square": square}, self.squares[self._square(square)])

    def _describe(self, name, settings):
        gan = self.gans[settings.gan].model_dump()
        return json.dumps({"study": self.study, **name, **settings.model_dump(), "gan_settings": gan})

    def _expand(self, path):
        os.environ.setdefault("PPE_SHARED", str(find_shared(self._root)))
        return self._root / Path(os.path.expandvars(path)).expanduser()

    def _dataset(self, name):
        _check_member("dataset", name, self.datasets, self._file)
        return name

    def _run(self, name):
        _check_member("run", name, self.runs, self._file)
        return name

    def _square(self, name):
        _check_member("square", name, self.squares, self._file)
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
        A run, square, data set or study of the file. ``tiny`` (the notebooks' default) and what begins with it, where the
        file has none, is of ``studies/smoke.yaml`` and writes to ``scratch/``: reading a study must not overwrite it.
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
    known = {params.study, *params.runs, *params.datasets, *params.squares}
    if name in (None, *known):
        return params
    if name.split("-")[0] == "tiny":
        return _read(root / "studies" / f"{SCRATCH_STUDY}.yaml", root, root / "scratch")
    raise ValueError(
        f"{name!r} is not a run, square, data set or study of params.yaml: allowed are {sorted(known)}, and 'tiny' to try a "
        "notebook"
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
            command = f"`python -m ppe {maker} {'tiny' if maker == 'collect' else Path(path).parent.name}`"
            how = f"run {f'notebooks/{maker}.ipynb' if maker[0].isdigit() else command}, which makes it"
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
