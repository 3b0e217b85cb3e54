"""The sections ``experiments`` and ``overrepresentation`` of ``params.yaml``, typed: what each may hold."""

from typing import Annotated, Literal

import pydantic
from pydantic import Field

from ppe.config.schema import GENERATORS, SHOWN_FACES, Count, Positive, Resolution, Section, Seed


class Experiment(Section):
    """A line of ``experiments``: generators trained on background identities and on targets, which are over-represented.

    An experiment of kind ``none`` has no target, and is the ``baseline`` of others: half of its generators set their thresholds,
    the other half count false alarms.
    """

    dataset: str
    resolution: Resolution
    generator: Literal[GENERATORS]
    kind: Literal["many", "repeated", "none"]
    design: Literal["square", "single"] = "square"
    baseline: str
    num_overrepresented: Count
    num_rotations: Count
    data_shares: Annotated[list[Annotated[float, Field(ge=0, lt=1)]], Field(min_length=2)]
    num_photos: Count
    max_background_photos: Count
    query_photos: Count
    num_controls: Count
    kimg: Positive
    num_generated: Annotated[int, Field(ge=SHOWN_FACES)]
    seed: Seed

    @pydantic.model_validator(mode="after")
    def _rotates(self):
        if self.data_shares != sorted(set(self.data_shares)) or self.data_shares[0] != 0:
            raise ValueError(f"data_shares={self.data_shares} must rise from 0: at 0 a target is in no training photo")
        if self.kind == "none" and self.num_rotations < 2:
            raise ValueError("kind='none' with num_rotations=1: some of its generators set thresholds, others are judged, so at "
                             "least 2 are needed")
        if self.kind != "none" and self.design == "single":
            self._has_a_generator_for_each_pair()
        elif self.kind != "none" and self.num_rotations != len(self.data_shares):
            raise ValueError(f"num_rotations={self.num_rotations} is not the number of data_shares, {len(self.data_shares)}: "
                             "each target passes through each data share once")
        return self

    def _has_a_generator_for_each_pair(self):
        pairs = self.num_overrepresented * (len(self.data_shares) - 1)
        if self.num_overrepresented < 2:
            raise ValueError("design='single' with num_overrepresented=1: at a data share of 0 a target is looked for in the "
                             "generators of the others, so at least 2 are needed")
        if self.num_rotations != pairs:
            raise ValueError(f"design='single' with num_rotations={self.num_rotations}: {self.num_overrepresented} targets at "
                             f"{len(self.data_shares) - 1} data shares above 0 need {pairs}, a generator for each pair")


class Overrepresentation(Section):
    """Constants of the search for over-represented identities."""

    match_rate: Annotated[float, Field(gt=0, lt=1)]
    top_k: Count
    num_peaks: Count
