"""The section ``generators`` of ``params.yaml`` as typed classes: how a generator is built and trained."""

from typing import Annotated, Literal

import pydantic
from pydantic import Field

from ppe.config.schema import GENERATORS, Count, Fraction, Positive, Section


class Generator(Section):
    """How a generator of any kind is trained. All runs that name a generator share its settings."""

    batch_size: Annotated[int, Field(gt=1)]
    learning_rate: Positive
    beta1: Annotated[float, Field(ge=0, lt=1)]
    beta2: Annotated[float, Field(ge=0, lt=1)]
    ema_kimg: Positive
    ema_rampup: Positive
    flip: bool
    snapshots: Annotated[list[Fraction], Field(min_length=1)]
    checkpoint_seconds: Positive
    precision: Literal["auto", "float32", "bfloat16"]

    @pydantic.field_validator("snapshots")
    @classmethod
    def _hold_both_ends(cls, value):
        if value != sorted(set(value)) or value[-1] != 1 or value[0] != 0:
            raise ValueError("must rise from 0 to 1: the first snapshot is the untrained control, the last is attacked")
        return value


class Gan(Generator):
    """The settings that all GANs have."""

    latent_dim: Count
    channel_base: Count
    channel_base_discriminator: Count
    channel_max: Count
    discriminator_rate: Positive
    r1_gamma: Annotated[float, Field(ge=0)]
    r1_interval: Count
    augment: list[Literal["colour", "translation", "cutout", "ada"]]
    ada_target: Annotated[float, Field(ge=-1, le=1)] | None = None
    ada_kimg: Positive | None = None

    @pydantic.model_validator(mode="after")
    def _steers_ada(self):
        if "ada" in self.augment and None in (self.ada_target, self.ada_kimg):
            raise ValueError("augment holds 'ada', which needs ada_target and ada_kimg")
        return self


class FastGan(Gan):
    """The settings of FastGAN, with those that only FastGAN has."""

    redraw_weight: Annotated[float, Field(ge=0)]


class StyleGan2(Gan):
    """The settings of StyleGAN2, with those that only StyleGAN2 has."""

    style_dim: Count
    mapping_layers: Count
    mapping_rate: Positive
    style_mixing: Fraction
    truncation: Fraction
    path_length_weight: Annotated[float, Field(ge=0)]
    path_length_interval: Count
    path_length_shrink: Count
    path_length_decay: Fraction


class Edm(Generator):
    """The settings of the diffusion model EDM."""

    channels: Annotated[list[Annotated[int, Field(gt=0, multiple_of=16)]], Field(min_length=1)]
    attention_side: Annotated[int, Field(ge=0)]
    sigma_data: Positive
    p_mean: float
    p_std: Positive
    warmup_kimg: Positive
    max_gradient: Positive
    sigma_min: Positive
    sigma_max: Positive
    rho: Positive
    num_steps: Annotated[int, Field(gt=1)]

    @pydantic.model_validator(mode="after")
    def _falls(self):
        if self.sigma_min >= self.sigma_max:
            raise ValueError(f"sigma_min={self.sigma_min} must be below sigma_max={self.sigma_max}")
        return self


class Generators(Section):
    """The settings of each generator, by its name. A generator without settings is not listed."""

    fastgan: FastGan | None = None
    stylegan2: StyleGan2 | None = None
    edm: Edm | None = None

    def __iter__(self):
        return iter(name for name in GENERATORS if getattr(self, name) is not None)

    def __getitem__(self, name):
        return getattr(self, name)
