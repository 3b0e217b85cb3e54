"""Load and check ``params.yaml``, alone or with a study laid over it, and choose the device.

No other module opens ``params.yaml``; ``ppe.config.paths`` alone knows a path, ``ppe.config.storage`` how files are written.
"""

import re
from pathlib import Path
from typing import Annotated, Literal

import pydantic
import yaml
from pydantic import Field

from ppe.config.overlay import merge_overlay
from ppe.config.paths import SCRATCH_STUDY, Named, check_member, find_root
from ppe.config.recipes import Recipes
from ppe.config.schema import Attack, Dataset, Detection, Embedder, Run, Verdicts
from ppe.config.schema_audit import Audit, AuditRules
from ppe.config.schema_defences import Defences, Tradeoff
from ppe.config.schema_experiments import Experiment, Overrepresentation
from ppe.config.schema_generators import Generators

SAME_AS_BASELINE = (
    *("dataset", "resolution", "generator", "num_photos", "max_background_photos", "query_photos", "num_controls", "kimg"),
    *("num_generated", "seed"),
)
"""What an experiment and its baseline have in common, so that only the over-represented identities differ."""
KINDS = ("run", "dataset", "experiment", "tradeoff")
"""What a notebook is executed for."""
MOST_VERDICTS = 100
"""Verdicts for whose number the smallest p-value must still reach ``verdicts.alpha`` when it is corrected."""


class Params(Recipes):
    """The whole of ``params.yaml``, plus where it was found (``root``) and where its outputs go (``base``)."""

    study: str
    toy: bool = False  # sizes at which all stages run and the numbers mean nothing
    device: Literal["auto", "cpu", "cuda"] = "auto"
    runs: Annotated[dict[str, Run], Field(min_length=1)]
    datasets: Annotated[dict[str, Dataset], Field(min_length=1)]
    detection: Detection
    generators: Generators
    embedders: dict[str, Embedder]
    attack: Attack
    verdicts: Verdicts
    experiments: dict[str, Experiment] = {}
    overrepresentation: Overrepresentation | None = None
    audit: AuditRules | None = None
    audits: dict[str, Audit] = {}
    defences: Defences | None = None
    tradeoffs: dict[str, Tradeoff] = {}

    @pydantic.model_validator(mode="after")
    def _names_fit(self):
        sections = ("runs", "datasets", "embedders", "generators", "experiments", "audits", "tradeoffs")
        for section, names in {"study": [self.study], **{name: getattr(self, name) for name in sections}}.items():
            for name in names:
                if not re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", name):
                    raise ValueError(f"{section}: name {name!r}: allowed are lower-case letters, digits and single hyphens")
        for section in ("runs", "experiments"):
            for name, line in getattr(self, section).items():
                check_member(f"{section}.{name}.dataset", line.dataset, self.datasets)
                if line.generator not in self.generators:
                    has = f"generators has {list(self.generators)}"
                    raise ValueError(f"{section}.{name}.generator={line.generator!r} has no settings ({has}): add them there")
                check_member(f"{section}.{name}.resolution", line.resolution, self.datasets[line.dataset].resolutions)
                self._check_channels(f"{section}.{name}", line)
        for name, dataset in self.datasets.items():
            for embedder in dataset.embedders:
                check_member(f"datasets.{name}.embedders", embedder, self.embedders)
            if dataset.identity_check is not None:
                check_member(f"datasets.{name}.identity_check", dataset.identity_check, self.embedders)
                if self.embedders[dataset.identity_check].weights is None:
                    raise ValueError(f"datasets.{name}.identity_check={dataset.identity_check!r} is trained on this data set, "
                                     "after its faces are chosen: name an embedder with weights")
            if dataset.reader == "synthetic" and None in (dataset.num_identities, dataset.photos_per_identity):
                raise ValueError(f"datasets.{name}: reader synthetic needs num_identities and photos_per_identity")
        self._refuse_twins()
        return self

    @pydantic.model_validator(mode="after")
    def _constants_fit(self):
        if 2 / (1 + self.attack.num_permutations) >= self.verdicts.control_p:
            raise ValueError(f"attack.num_permutations={self.attack.num_permutations} cannot reach p < verdicts.control_p="
                             f"{self.verdicts.control_p}: raise it")
        if self.audits and self.audit is None:
            raise ValueError("audits need the section audit: its constants are explained in params.yaml")
        if MOST_VERDICTS / (1 + self.verdicts.num_permutations) >= self.verdicts.alpha:
            raise ValueError(f"verdicts.num_permutations={self.verdicts.num_permutations} cannot reach p < verdicts.alpha="
                             f"{self.verdicts.alpha} once p is corrected for {MOST_VERDICTS} verdicts: raise it")
        if self.experiments and self.overrepresentation is None:
            raise ValueError("experiments need the section overrepresentation: its constants are explained in params.yaml")
        for name, experiment in self.experiments.items():
            self._check_baseline(f"experiments.{name}", experiment)
        return self

    def _check_channels(self, where, line):
        """StyleGAN2 has ``channel_base // resolution`` channels at full resolution, and EDM halves the side once a number of
        channels; FastGAN always has some."""
        for key in ("channel_base", "channel_base_discriminator") if line.generator == "stylegan2" else ():
            value = getattr(self.generators.stylegan2, key)
            if value < line.resolution:
                raise ValueError(f"{where}.resolution={line.resolution} needs a generators.stylegan2.{key} of at least "
                                 f"{line.resolution}, since their quotient is a number of channels, but it is {value}: raise it")
        halvings = len(self.generators.edm.channels) if line.generator == "edm" else 0
        if 2**halvings > line.resolution // 2:
            raise ValueError(f"{where}.resolution={line.resolution} is too small for {halvings} generators.edm.channels, "
                             "each of which halves the side: give fewer")

    def _check_baseline(self, where, experiment):
        """The generators that set an experiment's thresholds are its own but for the over-represented identities."""
        allowed = [other for other, settings in self.experiments.items() if settings.kind == "none"]
        check_member(f"{where}.baseline", experiment.baseline, allowed)
        baseline, below = self.experiments[experiment.baseline], f"experiments.{experiment.baseline}"
        for key in SAME_AS_BASELINE:
            own, other = getattr(experiment, key), getattr(baseline, key)
            if own != other:
                raise ValueError(f"{where}.{key}={own!r} differs from {below}.{key}={other!r}, which sets its thresholds: make "
                                 "them equal")
        largest, other = experiment.data_shares[-1], baseline.data_shares[-1]
        if largest != other or experiment.num_overrepresented > baseline.num_overrepresented:
            raise ValueError(f"{where} has {experiment.num_overrepresented} over-represented identities up to a data share of "
                             f"{largest}, but {below} leaves out {baseline.num_overrepresented} with photos for {other}: give "
                             "both one largest data share, and no more identities to the first")


def load_params(name=None, root=None):
    """Load and check ``params.yaml``.

    Parameters
    ----------
    name : str, optional
        A run, experiment, data set or study of the file. ``tiny`` (the notebooks' default) and what begins with it, where the
        file has none, is of ``studies/smoke.yaml`` and writes to ``scratch/``: reading a study must not overwrite it.
    root : path, optional
        The repository; found from the working folder if not given.

    Raises
    ------
    ValueError
        One sentence a mistake: what was got, what is allowed, where to change it.
    """
    root = Path(root) if root else find_root()
    params = _check(_read(root / "params.yaml"), "params.yaml", root, root)
    known = {params.study, *params.runs, *params.datasets, *params.experiments, *params.tradeoffs}
    if name in (None, *known):
        return params
    if name.split("-")[0] == "tiny":
        return load_study(SCRATCH_STUDY, root, root / "scratch")
    raise ValueError(
        f"{name!r} is not a run, experiment, data set, trade-off or study of params.yaml: allowed are {sorted(known)}, and "
        "'tiny' to try a notebook"
    )


def load_study(name, root, base=None):
    """Load and check ``studies/<name>.yaml``, laid over ``params.yaml``.

    base : path, where its outputs go; the root if not given. Raises as ``load_params``.
    """
    return _check(merge_study(name, root), f"studies/{name}.yaml", root, base or root)


def merge_study(name, root):
    """The whole params of a study: a dict, ``params.yaml`` below and ``studies/<name>.yaml`` above (``ppe.config.overlay``)."""
    preset = root / "studies" / f"{name}.yaml"
    if not preset.is_file():
        allowed = sorted(path.stem for path in (root / "studies").glob("*.yaml"))
        raise ValueError(f"STUDY={name!r} is not one of {allowed} (studies/*.yaml)")
    overlay = _read(preset)
    if overlay.get("study") != name:  # its results would go to another study's folder
        raise ValueError(f"studies/{name}.yaml says study: {overlay.get('study')!r}: write study: {name!r}")
    return merge_overlay(_read(root / "params.yaml"), overlay)


class _OnceLoader(yaml.SafeLoader):
    """Refuse a key that stands twice: a second ``runs:`` would hide the first."""

    def construct_mapping(self, node, deep=False):
        seen = {}
        for key, _ in node.value:
            name, line = str(key.value), key.start_mark.line + 1
            if name in seen:
                raise yaml.YAMLError(f"{name!r} stands twice in one section (lines {seen[name]} and {line}): join the two")
            seen[name] = line
        return super().construct_mapping(node, deep)


def _read(file):
    """The content of a YAML file: a dict."""
    label = file.name if file.name == "params.yaml" else f"studies/{file.name}"
    try:
        content = yaml.load(file.read_text(encoding="utf-8"), Loader=_OnceLoader)
    except (yaml.YAMLError, ValueError, RecursionError) as error:  # also of a date that is none, or not UTF-8
        raise ValueError(f"{label} is not YAML: {' '.join(str(error).split())}") from None
    if not isinstance(content, dict):
        raise ValueError(f"{label} holds {type(content).__name__}, not sections: it needs {list(Params.model_fields)}")
    return content


def _check(content, label, root, base):
    """The params of a study, typed and checked."""
    try:
        params = Params.model_validate(content)
    except pydantic.ValidationError as error:
        raise ValueError("\n".join(_say(e, label) for e in error.errors())) from None
    params._file, params._root, params._base = label, root, base
    params = _leave_out_absent(params)
    return params.model_copy(update={f"{kind}s": Named(getattr(params, f"{kind}s"), kind, label) for kind in KINDS})


def _leave_out_absent(params):
    """The same params without the optional embedders whose weights are not on this machine, in the lists of data sets."""
    absent = {}
    for name, embedder in params.embedders.items():
        if embedder.optional and not (file := params.weights_file(name, None)).is_file():
            absent[name] = file
    datasets = {}
    for name, dataset in params.datasets.items():
        kept = [embedder for embedder in dataset.embedders if embedder not in absent]
        if not kept:
            files = ", ".join(str(absent[embedder]) for embedder in dataset.embedders)
            raise ValueError(f"datasets.{name}.embedders={dataset.embedders} are all optional, and no weights of theirs are on "
                             f"this machine ({files}): place a file there, or name another embedder ({params._file})")
        params._absent |= {embedder: absent[embedder] for embedder in dataset.embedders if embedder in absent}
        datasets[name] = dataset.model_copy(update={"embedders": kept})
    return params.model_copy(update={"datasets": datasets}) if params._absent else params


def _say(error, file):
    """One of pydantic's errors as a sentence."""
    where = ".".join(str(part) for part in error["loc"])
    message = error["msg"].removeprefix("Value error, ")
    if error["type"] == "literal_error":
        return f"{where}={error['input']!r} is not one of [{error['ctx']['expected'].replace(' or ', ', ')}] ({file})"
    if error["type"] == "extra_forbidden" and error["loc"][0] == "generators" and len(error["loc"]) == 2:
        need = "a field of Generators in ppe/config/schema_generators.py (docs/extending.md)"
        return f"{where} is not {need}: check its spelling, or add it there ({file})"
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
    if device == "cpu":  # importing torch takes a second and a half
        return device
    import torch

    if device == "cuda" and not torch.cuda.is_available():
        raise ValueError("device='cuda', but torch sees no GPU: allowed are 'auto' and 'cpu' (params.yaml)")
    return ("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else device

