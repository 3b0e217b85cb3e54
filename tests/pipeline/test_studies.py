"""The studies of studies/*.yaml: what they share is equal, what they vary is one thing, and the paper's graph fits together."""

import itertools
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
import torch
import yaml
from PIL import Image

from ppe.config import load_params
from ppe.datasets.splits import split_identities
from ppe.datasets.synthetic import draw_photos, sample_identities
from ppe.evaluation.collection import name_sweep
from ppe.pipeline.presets import prepare_copy

SWEEPS = {"lfw-sizes-cpu": "equal kimg", "lfw-epochs-cpu": "equal epochs", "lfw-photos-cpu": "photos"}


def load_preset(root, name):
    return yaml.safe_load((root / "studies" / f"{name}.yaml").read_text())


def list_presets(root, start=""):
    return sorted(path.stem for path in (root / "studies").glob(f"{start}*.yaml"))


def test_presets_on_real_photos_share_nets_and_constants(root):
    base = load_preset(root, "lfw-cpu")
    for name in [*list_presets(root, "lfw-"), "olivetti-cpu"]:
        preset = load_preset(root, name)
        for section in ("generators", "embedders"):
            assert preset[section] == {key: base[section][key] for key in preset[section]}, f"{name}: {section}"
        assert preset["attack"] == base["attack"], name
        if name.startswith("lfw-") and not preset["experiments"]:  # a crowd needs people of few photos, and some of very many
            other = preset["datasets"]["lfw"] | {"resolutions": base["datasets"]["lfw"]["resolutions"]}
            assert other == base["datasets"]["lfw"], name
        assert all(run["seed"] > 0 for run in preset["runs"].values()) or name == "lfw-cpu", f"{name}: seed 0 is for tuning"


def test_a_preset_names_only_what_its_runs_use_and_says_so_in_their_names(root):
    for name in list_presets(root):
        preset = load_preset(root, name)
        assert preset["study"] == name
        if name in ("smoke", "lfw-cpu"):
            continue
        assert {run["generator"] for run in preset["runs"].values()} == set(preset["generators"]), name
        used = {net for dataset in preset["datasets"].values() for net in dataset["embedders"]}
        assert used == set(preset["embedders"]), name
        for key, run in preset["runs"].items():
            assert key.startswith(f"{run['dataset']}-{run['resolution']}-{run['generator']}-{run['num_identities']}"), key


@pytest.mark.parametrize("name", SWEEPS)
def test_runs_of_one_seed_in_a_sweep_differ_in_one_thing(root, name):
    runs = load_preset(root, name)["runs"].values()
    runs = [run | {"max_train_photos": run["max_train_photos"] or run["train_photos"]} for run in runs]
    pairs = list(itertools.combinations(runs, 2))
    assert {name_sweep(*pair) for pair in pairs if pair[0]["seed"] == pair[1]["seed"]} == {SWEEPS[name]}
    assert {name_sweep(*pair) for pair in pairs if pair[0]["seed"] != pair[1]["seed"]} == {""}


def test_more_photos_are_of_the_same_people_and_asked_about_in_the_same_photos(root):
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


def test_the_papers_graph_fits_together_on_small_folders(root, tmp_path):
    """Drawn people stand in for CASIA-WebFace, VGGFace2 and FFHQ: the params load, the photos are listed, dvc finds its way."""
    preset = load_preset(root, "paper")
    photos = draw_photos(sample_identities(6, seed=1).repeat(2, 1), torch.arange(12), size=64)
    for name, dataset in preset["datasets"].items():
        for i, photo in enumerate(photos):
            folder = tmp_path / "photos" / name / f"person-{i % 6}"
            folder.mkdir(parents=True, exist_ok=True)
            Image.fromarray(photo.numpy().transpose(1, 2, 0)).save(folder / f"{i}.jpg")
        dataset |= {"root": str(tmp_path / "photos" / name), "min_photos": 1}
    for run in preset["runs"].values():
        run |= {"num_identities": 1, "train_photos": 1, "query_photos": 1}
    for experiment in preset["experiments"].values():
        experiment |= {"num_overrepresented": 1, "num_rotations": 2, "data_shares": [0, 0.25], "num_photos": 4, "query_photos": 1, "num_controls": 1}
    file = tmp_path / "paper.yaml"
    file.write_text(yaml.safe_dump(preset, sort_keys=False))
    copy = tmp_path / "copy"
    environment = prepare_copy(root, copy, file) | {"PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin"}
    assert list(load_params(root=copy).runs) == list(preset["runs"])
    for name in preset["datasets"]:
        command = [sys.executable, "-m", "ppe", "index", name]
        done = subprocess.run(command, cwd=copy, env=environment, capture_output=True, text=True)
        assert f"{name}: 12 photos of 6 people, 0 unreadable" in done.stdout, done.stderr
    done = subprocess.run(["dvc", "dag", "--dot", "claims"], cwd=copy, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    for name, run in preset["runs"].items():
        dataset = run["dataset"]
        for first, second in ((f"faces@{dataset}", f"embed@{dataset}"), (f"embed@{dataset}", f"attack@{name}"),
                              (f"train@{name}", f"generate@{name}"), (f"attack@{name}", "collect")):
            assert f'"{first}" -> "{second}"' in done.stdout
    for name, experiment in preset["experiments"].items():
        for first, second in ((f"faces@{experiment['dataset']}", f"crowd@{name}"), (f"crowd@{name}", f"embed-crowd@{name}"),
                              (f"embed-crowd@{name}", f"dose@{name}"), (f"dose@{name}", "collect")):
            assert f'"{first}" -> "{second}"' in done.stdout
    assert '"collect" -> "claims"' in done.stdout
