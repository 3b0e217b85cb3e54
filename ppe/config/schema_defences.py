"""Defences: what the owner of a generator does against a leak, as the key ``defence`` of a run, and the section ``defences``."""

import re
from typing import Annotated, Literal, NamedTuple

import pydantic
from pydantic import Field

from ppe.config.schema import Count, Positive, Section

KINDS = {
    "none": None, "cap": int, "stop": float, "truncate": float, "steps": int, "filter": None, "dp": float,
}  # fmt: skip
"""Kind -> the type of its number, or None if it has none: ``none``, ``cap-2``, ``stop-0.25``, ``truncate-0.7``, ``steps-6``,
``filter``, ``dp-8``."""
ONLY = {"truncate": "stylegan2", "steps": "edm", "dp": "edm"}
"""Kind -> the only generator that it works on."""
OF_TRAINING = ("cap", "stop", "dp")
"""Kinds that change the training; the others change what is published, and the generators are those of the run without."""


class Defence(NamedTuple):
    """A defence, as ``parse_defence`` reads it."""

    kind: str
    value: float | int | None


def parse_defence(text, generator):
    """Read a run's ``defence``.

    Parameters
    ----------
    text : str
        none; cap-N: at most N training photos of an identity; stop-S: only the share S of the training; truncate-P: truncation
        psi P of StyleGAN2; steps-N: N steps of EDM's sampler; filter: generated faces near a training identity are not
        published; dp-E: EDM is trained with differential privacy of epsilon E.
    generator : str
        A name in ``ppe.generators.GENERATORS``.

    Returns
    -------
    Defence

    Raises
    ------
    ValueError
        If the text is none of these, its number is out of range, or the generator has no such defence.
    """
    kind, _, number = text.partition("-")
    form = KINDS.get(kind)
    is_number = form is not None and re.fullmatch(r"[0-9]+" if form is int else r"[0-9]+(\.[0-9]+)?", number) is not None
    if kind not in KINDS or (form is None) == bool(number) or (form is not None and not is_number):
        raise ValueError(f"defence={text!r} is not one of none, cap-N, stop-S, truncate-P, steps-N, filter, dp-E")
    value = form(number) if form else None
    least, most = {"cap": (1, 10**6), "stop": (0, 1), "truncate": (0, 1), "steps": (2, 1000), "dp": (0, 1e6)}.get(kind, (0, 0))
    if value is not None and not (least <= value <= most and value > 0):
        raise ValueError(f"defence={text!r}: its number must be above 0, at least {least:g} and at most {most:g}")
    if generator != ONLY.get(kind, generator):
        raise ValueError(f"defence={text!r} is one of {ONLY[kind]} alone, but generator={generator!r}")
    return Defence(kind, value)


class Defences(Section):
    """Constants of the defences."""

    filter_rate: Annotated[float, Field(gt=0, lt=1)]
    filter_limit: Annotated[int, Field(gt=1)]
    dp_unit: Literal["identity", "photo"]
    dp_delta: Annotated[float, Field(gt=0, lt=1)]
    dp_max_norm: Positive
    dp_noise_draws: Count


class Tradeoff(Section):
    """A figure of leak against quality over some runs of the study; all if none are named."""

    runs: list[str] = []

    @pydantic.field_validator("runs")
    @classmethod
    def _are_different(cls, value):
        if len(set(value)) < len(value):
            raise ValueError("each run must be given once")
        return value
