"""Everything a reader may change: load and check ``params.yaml``, one stage at a time, and choose the device.

``python -m ppe.config.params`` checks the file and prints one sentence if something in it is wrong. No other module opens
``params.yaml``; ``ppe.config.paths`` alone knows a path, ``ppe.config.storage`` how files are written.
"""

import re
import sys
from pathlib import Path
from typing import Annotated, Literal

import pydantic
import yaml
from pydantic import Field

from ppe.config.paths import SCRATCH_STUDY, Paths, check_member, find_root
from ppe.config.schema import Attack, Dataset, Embedder, Experiment, Generators, Overrepresentation, Run, Verdicts

SAME_AS_BASELINE = (
    *("dataset", "resolution", "generator", "num_photos", "max_background_photos", "query_photos", "num_controls", "kimg", "num_generated"),
    "seed",
)
"""What a square and the crowds that set its thresholds have in common, so that only an over-represented person differs."""


class Params(Paths):
    """The whole of ``params.yaml``, plus where it was found (``root``) and where its outputs go (``base``)."""

    study: str
    device: Literal["auto", "cpu", "cuda"] = "auto"
    runs: Annotated[dict[str, Run], Field(min_length=1)]
    datasets: Annotated[dict[str, Dataset], Field(min_length=1)]
    generators: Generators
    embedders: dict[str, Embedder]
    attack: Attack
    verdicts: Verdicts
    experiments: dict[str, Experiment] = {}
    overrepresentation: Overrepresentation | None = None

    @pydantic.model_validator(mode="after")
    def _names_fit(self):
        for section, names in {"study": [self.study], "runs": self.runs, "datasets": self.datasets,
                               "embedders": self.embedders, "generators": self.generators, "experiments": self.experiments}.items():
            for name in names:
                if not re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", name):
                    raise ValueError(f"{section}: name {name!r}: allowed are lower-case letters, digits and single hyphens")
        for section in ("runs", "experiments"):
            for name, run in getattr(self, section).items():
                check_member(f"{section}.{name}.dataset", run.dataset, self.datasets)
                check_member(f"{section}.{name}.generator", run.generator, self.generators)
                check_member(f"{section}.{name}.resolution", run.resolution, self.datasets[run.dataset].resolutions)
        if self.experiments and self.overrepresentation is None:
            raise ValueError("experiments need the section overrepresentation: its constants are explained in params.yaml")
        if 2 / (1 + self.attack.num_permutations) >= self.verdicts.control_p:
            raise ValueError(f"attack.num_permutations={self.attack.num_permutations} cannot reach p < verdicts.control_p="
                             f"{self.verdicts.control_p}: raise it")
        for name, experiment in self.experiments.items():
            self._check_baseline(name, experiment)
        for name, dataset in self.datasets.items():
            for embedder in dataset.embedders:
                check_member(f"datasets.{name}.embedders", embedder, self.embedders)
            if dataset.reader == "synthetic" and None in (dataset.num_identities, dataset.photos_per_identity):
                raise ValueError(f"datasets.{name}: reader synthetic needs num_identities and photos_per_identity")
        return self

    def _check_baseline(self, name, experiment):
        """The crowds that set a square's thresholds are its own but for the people who stand out."""
        allowed = [other for other, settings in self.experiments.items() if settings.kind == "none"]
        check_member(f"experiments.{name}.baseline", experiment.baseline, allowed)
        baseline = self.experiments[experiment.baseline]
        for key in SAME_AS_BASELINE:
            if getattr(experiment, key) != getattr(baseline, key):
                raise ValueError(f"experiments.{name}.{key}={getattr(experiment, key)!r} differs from experiments.{experiment.baseline}.{key}="
                                 f"{getattr(baseline, key)!r}, whose crowds set its thresholds: make them equal")
        if experiment.data_shares[-1] != baseline.data_shares[-1] or experiment.num_overrepresented > baseline.num_overrepresented:
            raise ValueError(f"experiments.{name} has up to {experiment.num_overrepresented} people at dose {experiment.data_shares[-1]}, but the crowds "
                             f"of experiments.{experiment.baseline} leave out {baseline.num_overrepresented} who have photos for dose "
                             f"{baseline.data_shares[-1]}: give both one largest dose, and no more people to the first")


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
    params = _read(root / "params.yaml", root, root)
    known = {params.study, *params.runs, *params.datasets, *params.experiments}
    if name in (None, *known):
        return params
    if name.split("-")[0] == "tiny":
        return _read(root / "studies" / f"{SCRATCH_STUDY}.yaml", root, root / "scratch")
    raise ValueError(
        f"{name!r} is not a run, experiment, data set or study of params.yaml: allowed are {sorted(known)}, and 'tiny' to try a "
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
    except (yaml.YAMLError, ValueError, RecursionError) as error:  # also of a date that is none, or not UTF-8
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
    if error["type"] == "float_type" and isinstance(error["input"], str) and re.fullmatch(r"[\d.]+[eE][-+]?\d+", error["input"]):
        message += ", and YAML takes this for text: write a point and a sign, as in 8.0e-4"
    got = "" if isinstance(error["input"], (dict, pydantic.BaseModel)) else f"={error['input']!r}"
    return f"{where}{got}: {message} ({file})" if where else f"{message} ({file})"


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
