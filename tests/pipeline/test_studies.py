"""The studies of studies/*.yaml: short, equal in what they share, different in one thing; and the paper's graph fits together."""

import itertools
import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
import torch
import yaml
from PIL import Image

from ppe.config import load_params
from ppe.config.params import load_study, merge_study
from ppe.datasets.splits import split_identities
from ppe.datasets.synthetic import draw_photos, sample_identities
from ppe.evaluation.collection import name_sweep
from ppe.pipeline.project_copy import prepare_copy

SWEEPS = {"lfw-sizes-cpu": "equal kimg", "lfw-epochs-cpu": "equal epochs", "lfw-photos-cpu": "photos"}


def load_preset(root, name):
    """The whole params of a study: a dict."""
    return merge_study(name, root)


def list_presets(root, start=""):
    return sorted(path.stem for path in (root / "studies").glob(f"{start}*.yaml"))


@pytest.mark.parametrize("name", [path.stem for path in sorted((Path(__file__).parents[2] / "studies").glob("*.yaml"))])
def test_a_study_is_a_short_overlay_that_holds_only_what_differs(root, name):
    text = (root / "studies" / f"{name}.yaml").read_text()
    assert len(text.splitlines()) <= 40
    assert load_study(name, root).study == name
    overlay, base = yaml.safe_load(text), yaml.safe_load((root / "params.yaml").read_text())
    for section in ("generators", "embedders", "attack", "overrepresentation", "verdicts"):
        for key, value in overlay.get(section, {}).items():
            known = base[section].get(key)
            same = [key] * (known == value)
            if isinstance(value, dict) and known:
                same += [name for name, own in value.items() if known.get(name) == own]
            assert not same, f"{section}.{key}: {same} are as in params.yaml"


def test_studies_on_real_photos_share_embedders_and_constants(root):
    base = load_preset(root, "lfw-cpu")
    for name in [*list_presets(root, "lfw-"), "olivetti-cpu"]:
        preset = load_preset(root, name)
        for section in ("generators", "embedders"):
            for key in set(preset[section]) & set(base[section]):
                # Whom a model was trained on depends on the data set.
                known = {"overlap": base[section][key]["overlap"]} if section == "embedders" else {}
                assert preset[section][key] | known == base[section][key], f"{name}: {section}.{key}"
        shorter = {"num_snapshot_faces": base["attack"]["num_snapshot_faces"]}  # of leakage over training: no claim rests on it
        assert preset["attack"] | shorter == base["attack"] and preset["verdicts"] == base["verdicts"], name
        if name.startswith("lfw-") and not preset["experiments"]:  # background needs people of few photos, and some of very many
            other = preset["datasets"]["lfw"] | {"resolutions": base["datasets"]["lfw"]["resolutions"]}
            assert other == base["datasets"]["lfw"], name
        assert all(run["seed"] > 0 for run in preset["runs"].values()), f"{name}: seed 0 is for tuning"


def test_names_of_runs_say_their_settings_and_no_study_reads_a_data_set_for_nothing(root):
    for name in list_presets(root):
        preset = load_preset(root, name)
        lines = [*preset["runs"].values(), *preset["experiments"].values()]
        assert set(preset["datasets"]) == {line["dataset"] for line in lines}, name
        for key, run in preset["runs"].items() if name != "smoke" else ():
            assert key.startswith(f"{run['dataset']}-{run['resolution']}-{run['generator']}-{run['num_identities']}"), key


@pytest.mark.parametrize("name", SWEEPS)
def test_runs_of_one_seed_in_a_sweep_differ_in_one_thing(root, name):
    runs = load_preset(root, name)["runs"].values()
    runs = [run | {"max_train_photos": run["max_train_photos"] or run["train_photos"]} for run in runs]
    pairs = list(itertools.combinations(runs, 2))
    assert {name_sweep(*pair) for pair in pairs if pair[0]["seed"] == pair[1]["seed"]} == {SWEEPS[name]}
    assert {name_sweep(*pair) for pair in pairs if pair[0]["seed"] != pair[1]["seed"]} == {""}


def test_more_photos_are_of_the_same_identities_with_the_same_queries(root):
    settings = [run for run in load_preset(root, "lfw-photos-cpu")["runs"].values() if run["seed"] == 1]
    names = [(f"{person:02d}/{photo}", f"{person:02d}") for person in range(40) for photo in range(10)]
    table = pd.DataFrame(names, columns=["image_id", "identity"]).assign(role="attacked", duplicate_of="")
    keys = ("num_identities", "train_photos", "max_train_photos", "query_photos", "seed")
    splits = [split_identities(table, **{key: run[key] for key in keys}) for run in settings]
    queries = [set(split.image_id[split.role == "query"]) for split in splits]
    assert queries[0] == queries[1] == queries[2]
    trained = sorted((set(split.image_id[split.role == "train"]) for split in splits), key=len)
    assert trained[0] < trained[1] < trained[2]
    assert [len(photos) for photos in trained] == [30, 60, 150]


LIST = """
import contextlib, sys
from ppe.pipeline import stages
for name in sys.argv[1:]:
    with contextlib.suppress(ValueError):  # six identities are too few to attack, which is found once they are listed
        stages.index(name)
"""


def test_the_papers_graph_fits_together_on_small_folders(root, tmp_path):
    """Synthetic identities stand in for CASIA-WebFace, VGGFace2 and FFHQ: params load, photos are listed, dvc finds its way."""
    project, copy = tmp_path / "project", tmp_path / "project" / ".studies" / "paper"
    shutil.copytree(root, project, ignore=shutil.ignore_patterns(".*", "results", "docs", "tests", "__pycache__", "bench"))
    shutil.copytree(root / ".dvc", project / ".dvc", ignore=shutil.ignore_patterns("cache", "tmp", "config.local"))
    overlay = yaml.safe_load((root / "studies" / "paper.yaml").read_text())
    photos = draw_photos(sample_identities(6, seed=1).repeat(2, 1), torch.arange(12), size=64)
    for name, dataset in overlay["datasets"].items():
        for i, photo in enumerate(photos):
            folder = project / "photos" / name / f"person-{i % 6}"
            folder.mkdir(parents=True, exist_ok=True)
            Image.fromarray(photo.numpy().transpose(1, 2, 0)).save(folder / f"{i}.jpg")
        dataset |= {"root": f"photos/{name}", "min_photos": 1, "num_pairs": 20}
    few = {"num_identities": 2, "train_photos": 1, "query_photos": 1}
    # As small, runs would be one setting: each gets a seed of its own.
    overlay["runs"] = {name: run | few | {"seed": seed} for seed, (name, run) in enumerate(overlay["runs"].items(), 1)}
    overlay["experiment_defaults"] |= {"num_overrepresented": 1, "num_rotations": 2, "data_shares": [0, 0.25], "num_photos": 4}
    overlay["experiment_defaults"] |= {"query_photos": 1, "num_controls": 1}
    overlay["experiments"] = {name: {"kind": line["kind"]} for name, line in overlay["experiments"].items()}
    (project / "studies" / "paper.yaml").write_text(yaml.safe_dump(overlay, sort_keys=False))
    environment = prepare_copy(project, copy, "paper") | {"PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin"}
    params = load_params(root=copy)
    assert list(params.runs) == list(overlay["runs"])
    listing = [sys.executable, "-c", LIST, *params.datasets]
    done = subprocess.run(listing, cwd=copy, env=environment, capture_output=True, text=True)
    for name in params.datasets:
        assert params.dataset_root(name) == project / "photos" / name, "a relative root is relative to the project"
        assert f"{name}: 12 photos of 6 identities, 0 files not usable" in done.stdout, done.stderr
    done = subprocess.run(["dvc", "dag", "--dot", "claims"], cwd=copy, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    arrows = [("collect", "claims")]
    for name, run in params.runs.items():
        arrows += [(f"faces@{run.dataset}", f"embed@{run.dataset}"), (f"embed@{run.dataset}", f"attack@{name}")]
        arrows += [(f"train@{name}", f"generate@{name}"), (f"attack@{name}", f"evaluate@{name}"), (f"evaluate@{name}", "collect")]
        arrows += [(f"attack@{name}", f"sensitivity@{name}"), (f"sensitivity@{name}", "collect")]
    for name, experiment in params.experiments.items():
        steps = [f"{stage}@{name}" for stage in ("train-experiment", "embed-experiment", "overrepresentation")]
        arrows += list(itertools.pairwise([f"faces@{experiment.dataset}", *steps, "collect"]))
    for first, second in arrows:
        assert f'"{first}" -> "{second}"' in done.stdout
