"""The notebooks end to end: the smallest study (``make smoke``) in a copy of the project, and what it left."""

import json
from itertools import product

import nbformat
import pandas as pd
import pytest
from smoke_study import alone, run

from ppe.attacks.scores import ATTACKS
from ppe.attacks.selection import CONTROLS, MEMBERSHIPS
from ppe.attacks.together import TOGETHER

pytestmark = pytest.mark.timeout(1600)  # the whole graph, on a machine that may be busy


@pytest.fixture(scope="module")
def study(finished):
    return finished


def test_the_graph_runs_from_photos_to_figures(study):
    folder, _ = study
    results = folder / "results" / "smoke"
    rows = pd.read_csv(results / "attacks.csv", keep_default_na=False)
    assert set(rows.run) == {"tiny"}
    auc = rows[(rows.metric == "auc") & (rows.slice == "all")]
    assert auc.value.astype(float).between(0, 1).all()
    pooled = auc[(auc.member_group == "pooled") & (auc.control == "none")]
    asked = {*ATTACKS, *TOGETHER} - {"denoising_loss"}  # of a diffusion model
    assert set(zip(pooled.attack, pooled.membership, strict=True)) == set(product(asked, MEMBERSHIPS))
    assert set(pooled.embedder) == {"", "synthetic-arcface", "synthetic-triplet"}
    assert set(pooled[pooled.attack == "density_ratio"].calibration) == {"reference_generator", "cohort"}
    assert set(auc.control) == set(CONTROLS)
    ceiling = auc[(auc.control == "memorisation_ceiling") & (auc.member_group == "pooled")]
    ceiling = ceiling[ceiling.embedder == "synthetic-arcface"]
    assert (ceiling.value.astype(float) > 0.5).all(), "training photos in the place of generated faces must be recognised"
    assert (pooled.low == "").all(), "below ten identities a side there is no interval"
    assert {"leak_share", "permuted_share", "auc_difference", "cohen_kappa"} <= set(rows.metric)
    slices = set(rows.slice.str.split(":").str[0])
    assert {"generated faces", "photos held", "own_similarity", "without the nearest quarter", "kimg"} <= slices
    assert {"kernel_distance", "frechet_distance", "kernel_gap", "effective_identities"} <= set(rows.metric)
    assert {"detected_share", "diversity"} <= set(rows.metric)
    tradeoff = pd.read_csv(results / "tradeoffs" / "tiny" / "table.csv")
    assert tradeoff.run.tolist() == ["tiny"] and tradeoff.kernel_distance.notna().all() and tradeoff.diversity.notna().all()
    assert {"concentration", "top_k", "epsilon", "cohort_size", "snorm_top_k"} <= set(rows.metric)
    metrics = json.loads((results / "metrics.json").read_text())
    assert set(metrics) == {"tiny"} and metrics["tiny"]["auc_low"] is None
    figures = {p.stem for p in (results / "figures").iterdir()}
    assert figures == {"overrepresentation-tiny", "evidence", "rocs", "sizes"}
    claims = pd.read_csv(results / "claims.csv", keep_default_na=False)
    assert list(claims.claim.unique()) == ["C1", "C2", "C3", "C4"]
    assert "supported" not in set(claims.verdict), "so little says nothing"
    times = pd.read_csv(folder / "executed" / "runtime.csv")
    assert set(times.stage) == {
        *("index", "faces", "embed", "train", "generate", "attack", "evaluate", "sensitivity", "train-experiment"),
        *("embed-experiment", "overrepresentation", "collect", "claims", "defences"),
    }  # fmt: skip
    assert len(times) == 14 + 3 and (times.seconds >= 0).all(), "two experiments"


def test_every_executed_notebook_has_pictures_and_no_error(study):
    folder, _ = study
    books = sorted((folder / "executed").glob("*.ipynb"))
    assert len(books) == 1 + 1 + 5 + 2 + 1 + 1
    for path in books:
        outputs = [o for c in nbformat.read(path, as_version=4).cells if c.cell_type == "code" for o in c.outputs]
        assert not [o for o in outputs if o.output_type == "error"], path.name
        assert any("image/png" in o.get("data", {}) for o in outputs), path.name
        assert "papermill" not in path.read_text(), "timings are stripped"
    said = (folder.parent / "done").read_text()
    assert "Running stage 'attack@tiny'" in said and len(said.splitlines()) < 150, "tables stay in the notebooks"
    assert not [line for line in said.splitlines() if "Warning" in line or "WARNING" in line]


def test_experiments_run_from_background_photos_to_rows(study):
    folder, _ = study
    rows = pd.read_csv(folder / "results" / "smoke" / "overrepresentation.csv")
    assert set(zip(rows.experiment, rows.kind, strict=True)) == {("tiny", "many"), ("tiny-none", "none")}
    assert set(rows.measure) == {
        "match_share", "match_share_ceiling", "nearest", "nearest_top_k", "detected", "false_alarms",
    }  # fmt: skip
    assert set(rows.embedder) == {"synthetic-arcface", "synthetic-triplet"}
    assert rows.value.notna().all() and rows.value[rows.measure != "false_alarms"].between(-1, 1).all()
    assert set(rows.data_share[(rows.experiment == "tiny") & (rows.statistic == "mean")].dropna()) == {0, 0.15}
    members = pd.read_csv(folder / "models" / "experiments" / "tiny" / "members.csv")
    split = pd.read_csv(folder / "models" / "experiments" / "tiny" / "split.csv")
    assert (members.groupby("group").size() == 12).all()
    assert not set(members.identity) & set(split.identity[split.part == "control"])
    assert not set(members.image_id) & set(split.image_id[split.role == "query"])
    assert len(list((folder / ".checkpoints" / "experiments").glob("*/*/finished.json"))) == 4


def test_members_are_what_the_trainer_saw_and_no_query_is_among_them(study):
    folder, _ = study
    split = pd.read_csv(folder / "models" / "generators" / "tiny" / "split.csv")
    members = pd.read_csv(folder / "models" / "generators" / "tiny" / "members.csv")
    assert not set(members.image_id) & set(split[split.role == "query"].image_id)
    assert members.groupby("identity").group.nunique().max() == 1
    faces = pd.read_csv(folder / "data" / "faces" / "tiny" / "faces.csv")
    assert not set(split.identity) & set(faces[faces.role == "auxiliary"].identity)
    finished = list((folder / ".checkpoints").glob("*/*/finished.json"))
    assert len(finished) == 3 and not list((folder / ".checkpoints").rglob("checkpoint.pt")), "three generators, all done"


def test_a_second_repro_does_nothing(study):
    with alone(study):
        running = [line for line in run(["dvc", "repro"], study).splitlines() if line.startswith("Running stage")]
    assert running == ["Running stage 'index@tiny':"], "only the list of photos is made anew, to see whether it changed"


def test_results_hold_no_path_of_this_machine(study):
    folder, _ = study
    for path in [*(folder / "results" / "smoke").rglob("*.csv"), folder / "dvc.lock"]:
        assert str(folder) not in path.read_text(), path.name
