"""Every path of the study, named once."""

import hashlib
import json
import os
from pathlib import Path

from ppe.config.schema import Section

SCRATCH_STUDY = "smoke"
"""The study that the notebooks' default parameters (``tiny``) belong to when a person runs them by hand."""
LAST_WORDS = ".checkpoints/last-words.txt"
"""Where a stage that fails leaves its sentence, since dvc prints something below it."""


class Paths(Section):
    """The paths of a study, as methods; ``ppe.config.params.Params`` adds the sections that they are made of."""

    _file: str = "params.yaml"
    _root: Path = Path(".")
    _base: Path = Path(".")

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
        """Trained embedders and their verification on identities that they never saw."""
        return self._base / "models" / "embedders" / self._dataset(dataset)

    def generators_folder(self, run):
        """``split.csv``, ``members.csv``, ``losses.csv`` and the snapshots of the generators of groups a, b and c."""
        return self._base / "models" / "generators" / self._run(run)

    def generated_folder(self, run):
        """``a.npy``, ``b.npy``, ``c.npy``: uint8 [M, 3, H, W]."""
        return self._base / "data" / "generated" / self._run(run)

    def attack_folder(self, run):
        """Scores, photos, constants and embeddings of the attack: with names, so never committed."""
        return self._base / "data" / "attacks" / self._run(run)

    def rows_file(self, run):
        """The run's numbers, one row a number."""
        return self.results_folder() / "rows" / f"{self._run(run)}.csv"

    def sensitivity_rows_file(self, run):
        """The numbers of the run's sensitivity analysis, one row a number."""
        return self.results_folder() / "rows" / "sensitivity" / f"{self._run(run)}.csv"

    def scores_file(self, run):
        """The run's scores, one row a photo and set of faces, with pseudonyms in place of names."""
        return self.results_folder() / "scores" / f"{self._run(run)}.csv"

    def experiment_models_folder(self, experiment):
        """``split.csv``, ``members.csv``, ``data_shares.csv`` and the snapshots of an experiment's generators."""
        return self._base / "models" / "experiments" / self._experiment(experiment)

    def experiment_faces_folder(self, experiment):
        """``<group>.npy`` for each generator of an experiment: uint8 [M, 3, H, W]."""
        return self._base / "data" / "experiments" / self._experiment(experiment)

    def experiment_embeddings_folder(self, experiment):
        """``<embedder>.npy``: float32 [generators, M, D], embeddings of an experiment's faces, sorted by group."""
        return self._base / "data" / "experiment_embeddings" / self._experiment(experiment)

    def experiment_rows_file(self, experiment):
        """The experiment's numbers, one row a number; beside the runs' rows, since that folder exists in every study."""
        return self.results_folder() / "rows" / "experiments" / f"{self._experiment(experiment)}.csv"

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
        """The verdicts of every study, study -> path; those of the try-out study mean nothing and are left out."""
        files = sorted((self._root / "results").glob("*/claims.csv"))
        return {file.parent.name: file for file in files if file.parent.name != SCRATCH_STUDY}

    def checkpoints_folder(self, run, members):
        """Where a training keeps what it needs to go on: named by its params, photos and code, so that nothing mixes.

        members : str, anything that changes when the training photos do.
        """
        return self._base / ".checkpoints" / f"{run}-{self._digest_training(self.runs[self._run(run)], members)}"

    def experiment_checkpoints_folder(self, experiment, members):
        """The same for the generators of an experiment."""
        digest = self._digest_training(self.experiments[self._experiment(experiment)], members)
        return self._base / ".checkpoints" / "experiments" / f"{experiment}-{digest}"

    def _digest_training(self, settings, members):
        room = Path(__file__).parents[1] / "generators"
        code = [file.read_bytes() for file in (room / f"{settings.generator}.py", *sorted((room / "training").glob("*.py")))]
        text = settings.model_dump_json(exclude={"num_generated", "num_effort", "baseline", "num_controls"})
        parts = [text, self.generators[settings.generator].model_dump_json(), members]
        return hashlib.sha256("\n".join(parts).encode() + b"".join(code)).hexdigest()[:16]

    def list_checkpoints(self, run):
        """Folders in which the run was trained, of any recipe."""
        return sorted((self._base / ".checkpoints").glob(f"{self._run(run)}-{'[0-9a-f]' * 16}"))

    def list_experiment_checkpoints(self, experiment):
        """The same for the generators of an experiment."""
        return sorted((self._base / ".checkpoints" / "experiments").glob(f"{self._experiment(experiment)}-{'[0-9a-f]' * 16}"))

    def runtime_file(self):
        """What each stage took on this machine; ignored by git."""
        return self._base / "executed" / "runtime.csv"

    def executed_folder(self):
        """Notebooks with their outputs."""
        return self._root / "executed"

    def executed_file(self, book, name):
        """An executed notebook: one a data set, run or experiment; of the last notebook, one a study."""
        return self.executed_folder() / (f"{book}.ipynb" if book == "9_claims" else f"{book}-{name}.ipynb")

    def dataset_root(self, dataset):
        """Folder of a data set's photos, or None where its reader draws or downloads them.

        ``$PPE_SHARED`` and ``~`` are expanded; a relative path starts at the project's folder. LFW and Olivetti without a root
        are looked for in ``$PPE_SHARED/data`` first.
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
        """Path of an embedder's weights: a file, the one that the study trained, or the name of weights that are downloaded."""
        weights = self.embedders[embedder].weights
        if weights is None:
            return self.embedders_folder(dataset) / f"{embedder}.safetensors"
        return weights if weights in ("vggface2", "casia-webface") else self._expand(weights)

    def shared_weights(self, name):
        """Path of weights in ``$PPE_SHARED/weights``, or None where there is no such file."""
        found = find_shared(self._root) / "weights" / name
        return found if found.is_file() else None

    def describe(self, run):
        """The params that make a run, as JSON text: every artefact of the run carries it."""
        return self._describe({"run": run}, self.runs[self._run(run)])

    def describe_experiment(self, experiment):
        """The same for an experiment."""
        return self._describe({"experiment": experiment}, self.experiments[self._experiment(experiment)])

    def _describe(self, name, settings):
        gan = self.generators[settings.generator].model_dump()
        return json.dumps({"study": self.study, **name, **settings.model_dump(), "generator_settings": gan})

    def _expand(self, path):
        os.environ.setdefault("PPE_SHARED", str(find_shared(self._root)))
        try:
            return self._root / Path(os.path.expandvars(path)).expanduser()
        except RuntimeError:
            raise ValueError(f"{path} names a user whom this machine does not know: write the folder in full "
                             f"({self._file})") from None

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
    """Raise ValueError, a sentence, if ``got`` is not among ``allowed``."""
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
