"""The sections ``audit`` and ``audits`` of ``params.yaml``, typed: what each may hold."""

from typing import Annotated, Literal

import pydantic
from pydantic import Field

from ppe.config.schema import Count, Fraction, Positive, Section, Seed

Share = Annotated[float, Field(gt=0, lt=1)]


class AuditRules(Section):
    """Constants of an audit. ``docs/audit.md`` explains each."""

    false_discovery_rate: Share
    group_p: Share
    scores: Annotated[list[Literal["nearest_top_k", "nearest_snorm"]], Field(min_length=1)]
    cohort_share: Share
    max_cohort: Count
    cohort_size: Annotated[int, Field(ge=2)]
    top_k: Count
    photo_share: Share
    planted_shares: Annotated[list[Share], Field(min_length=1)]
    num_planted: Count
    power: Share
    power_low: Share
    exchange_p: Share
    num_matched: Count
    same_picture: Fraction
    copy_cosine: Fraction
    num_peaks: Count
    max_scanned: Annotated[int, Field(ge=10)]
    detail_error: Positive
    seed: Seed

    @pydantic.field_validator("planted_shares")
    @classmethod
    def _rise(cls, value):
        if value != sorted(set(value)):
            raise ValueError("planted_shares must rise, each given once")
        return value


class Audit(Section):
    """An audit of ``params.yaml``: what ``python -m ppe audit`` takes, so that DVC can repeat it.

    generated : str
        Generated faces: a folder, a zip or tar file, a ``.npy`` file, or ``<run>:<group>`` of this study.
    people, controls, training : str or None
        Folders of ``<person>/<photo>``.
    models : list of str
        Names in ``embedders``; empty: the first two whose weights are found.
    show_faces, names : bool
        Whether the report may hold photos of people, and their names.
    """

    generated: str
    people: str
    controls: str | None = None
    training: str | None = None
    models: list[str] = []
    show_faces: bool = False
    names: bool = False
