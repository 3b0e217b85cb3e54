"""Recipes of trainings: what a generator is trained with, under a run's defence, and where its checkpoints lie."""

import hashlib
import json
from pathlib import Path

import pydantic

from ppe.config.paths import Paths, check_member
from ppe.config.schema_defences import OF_TRAINING, parse_defence

OF_PUBLISHING = {"num_generated", "num_effort"}
"""Settings of a run that do not touch the training."""


class Recipes(Paths):
    """The recipes of a study's trainings, as methods."""

    def _refuse_twins(self):
        """Two runs that are one would be taken for two seeds, that is for more evidence than there is."""
        known = {}
        for name, run in self.runs.items():
            settings = run.model_dump(exclude={"num_effort"}) | {"max_train_photos": run.max_train_photos or run.train_photos}
            twin = known.setdefault(json.dumps(settings, sort_keys=True, default=str), name)
            if twin != name:
                raise ValueError(f"runs.{twin} and runs.{name} are one setting with one seed, {run.seed}: change the seed of "
                                 "one, or remove it")  # fmt: skip

    @pydantic.model_validator(mode="after")
    def _defences_fit(self):
        for name, run in self.runs.items():
            where = f"runs.{name}.defence={run.defence!r}"
            try:
                defence = parse_defence(run.defence, run.generator)
            except ValueError as error:
                raise ValueError(f"runs.{name}.{error}") from None
            if defence.kind != "none" and self.defences is None:
                raise ValueError(f"{where} needs the section defences: its constants are explained in params.yaml")
            most = run.max_train_photos or run.train_photos
            if defence.kind == "cap" and defence.value >= most:
                raise ValueError(f"{where} leaves out no photo: no identity has more than {most} training photos")
            if defence.kind == "filter" and len(self.datasets[run.dataset].embedders) < 2:
                raise ValueError(f"{where} needs a second embedder beside the attacker's: add one to "
                                 f"datasets.{run.dataset}.embedders")
        for name, tradeoff in self.tradeoffs.items():
            for run in tradeoff.runs:
                check_member(f"tradeoffs.{name}.runs", run, self.runs)
        return self

    def defence(self, run):
        """The defence of a run: ``ppe.config.schema_defences.Defence``."""
        settings = self.runs[self._run(run)]
        return parse_defence(settings.defence, settings.generator)

    def generator_settings(self, run):
        """The section ``generators.<name>`` of a run's generator, under the run's defence: a dict, what loads and samples it."""
        kind, value = self.defence(run)
        settings = self.generators[self.runs[run].generator].model_dump()
        name = {"truncate": "truncation", "steps": "num_steps"}.get(kind)
        return settings | ({name: value} if name else {})

    def split_settings(self, run):
        """The keywords of ``ppe.datasets.splits.split_identities`` for a run, as a dict."""
        kind, value = self.defence(run)
        sizes = {"num_identities", "train_photos", "max_train_photos", "query_photos", "seed"}
        return self.runs[run].model_dump(include=sizes) | {"cap": value if kind == "cap" else None}

    def training_recipe(self, run):
        """The keywords of ``ppe.generators.training.loop.train_generator`` that all generators of a run share, as a dict.

        A run whose defence changes only what is published has the generators of the study's run without it, if there is one.
        """
        run = self.trained_as(run)
        (kind, value), settings = self.defence(run), self.runs[run]
        network = self.generators[settings.generator].model_dump()
        if kind == "dp":
            rules = self.defences
            network["privacy"] = {
                "epsilon": value, "delta": rules.dp_delta, "unit": rules.dp_unit, "max_norm": rules.dp_max_norm,
                "noise_draws": rules.dp_noise_draws, "kimg": settings.kimg,
            }  # fmt: skip
        kimg = settings.kimg * value if kind == "stop" else settings.kimg
        return {"family": settings.generator, "settings": network, "kimg": kimg, "description": self.describe(run)}

    def count_faces(self, run):
        """How many faces each of a run's generators generates: a dict, group -> int. A filter chooses from more."""
        settings, kind = self.runs[self._run(run)], self.defence(run).kind
        if kind == "filter":
            return dict.fromkeys("abc", settings.num_generated * self.defences.filter_limit)
        return dict.fromkeys("ab", settings.num_effort or settings.num_generated) | {"c": settings.num_generated}

    def trained_as(self, run):
        """Name of the run whose trainings a run has: its own, or the same run's without a defence of what is published."""
        if self.defence(run).kind in OF_TRAINING:
            return run
        same = self.runs[run].model_dump(exclude={*OF_PUBLISHING, "defence"})
        for other, settings in self.runs.items():
            if settings.defence == "none" and settings.model_dump(exclude={*OF_PUBLISHING, "defence"}) == same:
                return other
        return run

    def checkpoints_folder(self, run, members):
        """Folder of the checkpoints of a run's trainings. Other params, photos or code give another folder.

        members : str
            Any text that changes if the training photos change.
        """
        run = self.trained_as(run)
        return self._base / ".checkpoints" / f"{run}-{self._digest_training(self.runs[run], members)}"

    def experiment_checkpoints_folder(self, experiment, members):
        """The same as ``checkpoints_folder``, for the generators of an experiment."""
        digest = self._digest_training(self.experiments[self._experiment(experiment)], members)
        return self._base / ".checkpoints" / "experiments" / f"{experiment}-{digest}"

    def _digest_training(self, settings, members):
        room = Path(__file__).parents[1] / "generators"
        code = [file.read_bytes() for file in (room / f"{settings.generator}.py", *sorted((room / "training").glob("*.py")))]
        changes = getattr(settings, "defence", "none").partition("-")[0] in OF_TRAINING
        others = {"baseline", "num_controls", *([] if changes else ["defence"])}
        text = settings.model_dump_json(exclude=OF_PUBLISHING | others)
        parts = [text, self.generators[settings.generator].model_dump_json(), members]
        if changes and self.defences:
            parts.append(self.defences.model_dump_json(include={"dp_unit", "dp_delta", "dp_max_norm", "dp_noise_draws"}))
        return hashlib.sha256("\n".join(parts).encode() + b"".join(code)).hexdigest()[:16]

    def list_checkpoints(self, run):
        """All checkpoint folders of a run, whatever the params, photos and code."""
        return sorted((self._base / ".checkpoints").glob(f"{self._run(run)}-{'[0-9a-f]' * 16}"))

    def list_experiment_checkpoints(self, experiment):
        """The same as ``list_checkpoints``, for the generators of an experiment."""
        return sorted((self._base / ".checkpoints" / "experiments").glob(f"{self._experiment(experiment)}-{'[0-9a-f]' * 16}"))

    def describe(self, run):
        """The params of a run and of its generator, as JSON text. Every artefact of the run carries this text."""
        return self._describe({"run": run}, self.runs[self._run(run)])

    def describe_experiment(self, experiment):
        """The same as ``describe``, for an experiment."""
        return self._describe({"experiment": experiment}, self.experiments[self._experiment(experiment)])

    def _describe(self, name, settings):
        gan = self.generators[settings.generator].model_dump()
        return json.dumps({"study": self.study, **name, **settings.model_dump(), "generator_settings": gan})
