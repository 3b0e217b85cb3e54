"""All paths of a study, in one place."""

import os
from datetime import datetime
from pathlib import Path

from ppe.config.schema import NAMED, Section

SCRATCH_STUDY = "smoke"
"""The study of the notebooks' default parameters (``tiny``), which are used if a notebook is run by hand."""
COPIES = ".studies"
"""Folder of the copies of the project in which the studies of ``studies/*.yaml`` run."""
STAGE_LOCKS = ".checkpoints/.stages"
"""Folder of a lock for each stage, so that the same one never works twice at a time."""
LAST_WORDS = ".checkpoints/last-words.txt"
"""File to which a failing stage writes its error message, so that the message can be shown again below the output of dvc."""
HOMES_OF_COPIES = ((COPIES,), (".dvc", "tmp", "exps"))
"""Folders of a project in which copies of it lie: those of studies, and those of ``dvc exp run --temp`` and ``--queue``."""


class Paths(Section):
    """The paths of a study, as methods. ``ppe.config.params.Params`` adds the sections of ``params.yaml`` that they depend on."""

    _file: str = "params.yaml"
    _root: Path = Path(".")
    _base: Path = Path(".")
    _absent: dict[str, Path] = {}

    @property
    def root(self):
        """Folder of the project, or of a study's copy of it."""
        return self._root

    @property
    def file(self):
        """The file that was loaded, for messages: ``params.yaml`` or ``studies/<name>.yaml``."""
        return self._file

    @property
    def absent(self):
        """Optional embedders that are left out, since their weights are not on this machine: a dict, name -> path."""
        return self._absent

    def index_file(self, dataset):
        """Table of a data set's photos, one row per photo."""
        return self._base / "data" / "index" / f"{self._dataset(dataset)}.csv"

    def weights_table(self, dataset):
        """Table of the weights files that a data set's embedders name in params: embedder, sha256."""
        return self._base / "data" / "index" / f"{self._dataset(dataset)}-weights.csv"

    def faces_folder(self, dataset):
        """Aligned faces, ``faces.npy`` uint8 [N, 3, 112, 112], and ``faces.csv``: one row per photo, in the same order."""
        return self._base / "data" / "faces" / self._dataset(dataset)

    def embedders_folder(self, dataset):
        """Trained embedders, and their verification on identities that were not used to train them."""
        return self._base / "models" / "embedders" / self._dataset(dataset)

    def generators_folder(self, run):
        """``split.csv``, ``members.csv``, ``losses.csv`` and the snapshots of the generators of groups a, b and c (reference)."""
        return self._base / "models" / "generators" / self._run(run)

    def generated_folder(self, run):
        """Generated faces of each group, ``a.npy``, ``b.npy`` and ``c.npy``: uint8 [M, 3, H, W]."""
        return self._base / "data" / "generated" / self._run(run)

    def attack_folder(self, run):
        """Scores, photos, constants and embeddings of the attack. They hold names of identities, so they are never committed."""
        return self._base / "data" / "attacks" / self._run(run)

    def rows_file(self, run):
        """The run's results, one row per number."""
        return self.results_folder() / "rows" / f"{self._run(run)}.csv"

    def sensitivity_rows_file(self, run):
        """The results of the run's sensitivity analysis, one row per number."""
        return self.results_folder() / "rows" / "sensitivity" / f"{self._run(run)}.csv"

    def scores_file(self, run):
        """The run's scores, one row per photo and set of faces, with pseudonyms in place of names."""
        return self.results_folder() / "scores" / f"{self._run(run)}.csv"

    def experiment_models_folder(self, experiment):
        """``split.csv``, ``members.csv``, ``data_shares.csv`` and the snapshots of an experiment's generators."""
        return self._base / "models" / "experiments" / self._experiment(experiment)

    def experiment_faces_folder(self, experiment):
        """Generated faces of each generator of an experiment, ``<group>.npy``: uint8 [M, 3, H, W]."""
        return self._base / "data" / "experiments" / self._experiment(experiment)

    def experiment_embeddings_folder(self, experiment):
        """Embeddings of an experiment's generated faces, ``<embedder>.npy``: float32 [generators, M, D], sorted by group."""
        return self._base / "data" / "experiment_embeddings" / self._experiment(experiment)

    def experiment_rows_file(self, experiment):
        """The experiment's results, one row per number. They lie in the folder of the runs' rows, which every study has."""
        return self.results_folder() / "rows" / "experiments" / f"{self._experiment(experiment)}.csv"

    def audit_folder(self, audit):
        """Report of an entry of ``audits``. Its tables may hold names, so they are never committed."""
        check_member("audit", audit, self.audits, self._file)
        return self._base / "data" / "audits" / audit

    def tradeoff_folder(self, tradeoff):
        """Table and figures of an entry of ``tradeoffs``: leak against quality."""
        check_member("tradeoff", tradeoff, self.tradeoffs, self._file)
        return self.results_folder() / "tradeoffs" / tradeoff

    def style_file(self):
        """Matplotlib style sheet of all figures."""
        return self._root / "ppe.mplstyle"

    def report_folder(self):
        """Folder of an audit's report where none is named: a new one by date and time, below the working folder."""
        return Path("audits") / f"{datetime.now():%Y-%m-%d-%H%M%S}"

    def audit_cache(self):
        """What audits keep: embeddings, and the photos of examples."""
        return self.root / ".audit-cache"

    def index_settings(self, dataset):
        """The settings of a data set that ``ppe.datasets.index.read_index`` takes besides reader, root and seed: a dict."""
        names = {"min_photos", "max_photos", "num_identities", "num_auxiliary", "photos_per_identity",
                 "photos_per_auxiliary", "num_prominent", "photos_per_prominent"}
        return self.datasets[self._dataset(dataset)].model_dump(include=names)

    def docs_folder(self):
        """The pages behind README.md, and the site."""
        return self._root / "docs"

    def results_folder(self):
        """Tables and figures of the study."""
        return self._base / "results" / self.study

    def claims_files(self):
        """Files of verdicts, study -> path, of all studies that have results here."""
        return {file.parent.name: file for file in sorted((self._root / "results").glob("*/claims.csv"))}

    def runtime_file(self):
        """Run time of each stage on this machine. The file is ignored by git."""
        return self._base / "executed" / "runtime.csv"

    def executed_folder(self):
        """Notebooks with their outputs."""
        return self._root / "executed"

    def executed_file(self, book, name):
        """An executed notebook. There is one per data set, run or experiment, and one per study of the last notebook."""
        is_of_study = book == "9_claims" and name == self.study
        return self.executed_folder() / (f"{book}.ipynb" if is_of_study else f"{book}-{name}.ipynb")

    def dataset_root(self, dataset):
        """Folder of a data set's photos: a path, or None if its reader generates or downloads them.

        ``$PPE_SHARED`` and ``~`` are expanded. A relative path starts at the project's folder, also in a copy of the project
        (``find_project``). Without a root, LFW and Olivetti are taken from ``$PPE_SHARED/data`` if they are there. Raises
        ValueError if this machine has no user ``~name``.
        """
        settings = self.datasets[self._dataset(dataset)]
        if settings.root is not None:
            return self.expand(settings.root)
        found = find_shared(self._root) / "data" / settings.reader
        return found if settings.reader in ("lfw", "olivetti") and found.is_dir() else None

    def download_folder(self):
        """Folder for the data sets that readers download: that of the project, since a copy of it may be deleted."""
        return find_project(self._root) / "downloads"

    def weights_file(self, embedder, dataset):
        """An embedder's weights: the path of a given or trained file, or a name (``ppe.config.schema.NAMED``)."""
        weights = self.embedders[embedder].weights
        if weights is None:
            return self.embedders_folder(dataset) / f"{embedder}.safetensors"
        return weights if weights in NAMED else self.expand(weights)

    def shared_weights(self, name):
        """Path of a file in ``$PPE_SHARED/weights``, or None if it does not exist."""
        found = find_shared(self._root) / "weights" / name
        return found if found.is_file() else None

    def expand(self, path):
        """A path of params: ``~`` and variables are filled in, and a relative one starts at the project."""
        os.environ.setdefault("PPE_SHARED", str(find_shared(self._root)))
        return find_project(self._root) / expand_user(os.path.expandvars(path), self._file)

    def _dataset(self, name):
        check_member("dataset", name, self.datasets, self._file)
        return name

    def _run(self, name):
        check_member("run", name, self.runs, self._file)
        return name

    def _experiment(self, name):
        check_member("experiment", name, self.experiments, self._file)
        return name


def check_member(where, got, allowed, file=None):
    """Raise ValueError if ``got`` is not in ``allowed``. ``where`` and ``file`` say what to change, and in which file."""
    if got not in allowed:
        raise ValueError(f"{where}={got!r} is not one of {list(allowed)}" + (f" ({file})" if file else ""))


class Named(dict):
    """Entries of a section of params by name: an unknown name raises ValueError, as in ``check_member``."""

    def __init__(self, entries, kind, file):
        super().__init__(entries)
        self.kind, self.file = kind, file

    def __missing__(self, name):
        check_member(self.kind, name, self, self.file)


def expand_user(path, file=None):
    """Expand ``~`` and ``~name``: a path. Raises ValueError if this machine has no such user; ``file`` says where it is given."""
    try:
        return Path(path).expanduser()
    except RuntimeError:
        where = f" ({file})" if file else ""
        raise ValueError(f"{path} names a user whom this machine does not know: write the folder in full{where}") from None


def find_root(start=None):
    """Find the project: the nearest folder at or above ``start`` that holds params.yaml, dvc.yaml and ppe/.

    start : path or None (the working folder). Returns a path. Raises FileNotFoundError if there is no such folder.
    """
    start = Path(start or Path.cwd()).resolve()
    for folder in (start, *start.parents):
        if _is_project(folder):
            return folder
    raise FileNotFoundError(
        f"no params.yaml with dvc.yaml and ppe/ beside it at or above {start}: open the notebooks inside the project's folder"
    )


def find_project(root):
    """Find the project of which a folder is a copy, or a copy of one (``HOMES_OF_COPIES``); the folder itself if it is none."""
    root = Path(root)
    for folder in reversed(root.absolute().parents):
        below = root.absolute().relative_to(folder).parts
        if any(below[: len(home)] == home for home in HOMES_OF_COPIES) and _is_project(folder):
            return folder
    return root


def find_shared(root):
    """Folder of data and weights that are not part of the repository: ``$PPE_SHARED``, or ``shared`` beside the project."""
    return Path(os.environ.get("PPE_SHARED", find_project(root).parent / "shared"))


def _is_project(folder):
    return (folder / "params.yaml").is_file() and (folder / "dvc.yaml").is_file() and (folder / "ppe").is_dir()
