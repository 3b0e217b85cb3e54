"""params.yaml: every mistake is one sentence that says what was got, what is allowed and where to change it."""

import copy
import itertools

import pytest
import yaml

from ppe.config import load_params, load_table, require_file, save_array, save_json, save_table
from ppe.config.params import load_study, merge_study
from ppe.generators import GENERATORS


@pytest.fixture
def project(root, tmp_path):
    """A folder that looks like the project, and a function that writes a changed params.yaml and loads it."""
    (tmp_path / "ppe").mkdir()
    (tmp_path / "studies").mkdir()
    (tmp_path / "dvc.yaml").write_text("stages: {}\n")
    (tmp_path / "studies" / "smoke.yaml").write_text((root / "studies" / "smoke.yaml").read_text())
    content = yaml.safe_load((root / "params.yaml").read_text())

    def load(change=lambda c: None, name=None):
        changed = copy.deepcopy(content)
        change(changed)
        (tmp_path / "params.yaml").write_text(yaml.safe_dump(changed))
        return load_params(name, root=tmp_path)

    return load


def set_run(key, value):
    return lambda content: content["runs"]["synthetic-32-fastgan-10"].__setitem__(key, value)


def add_onnx(**settings):
    section = {"net": "onnx", "weights": "own.onnx", "overlap": "none", **settings}
    return lambda content: content["embedders"].update(own=section)


def use_stylegan2(key):
    """A change that trains StyleGAN2 at 32 px with fewer than 32 of ``key``."""

    def change(content):
        content["runs"]["synthetic-32-fastgan-40"]["generator"] = "stylegan2"
        content["generators"]["stylegan2"][key] = 31

    return change


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (set_run("generator", "fastGAN"), f"generator='fastGAN' is not one of {list(GENERATORS)} (params.yaml)"),
        (set_run("dataset", "nobody"), "runs.synthetic-32-fastgan-10.dataset='nobody' is not one of ['synthetic'] (params.yaml)"),
        (set_run("resolution", 64), "runs.synthetic-32-fastgan-10.resolution=64 is not one of [32] (params.yaml)"),
        (
            set_run("num_generated", -1),
            "runs.synthetic-32-fastgan-10.num_generated=-1: Input should be greater than or equal to 10 (params.yaml)",
        ),
        (
            set_run("kimgs", 3),
            "runs.synthetic-32-fastgan-10.kimgs is not a known key: remove it or check its spelling (params.yaml)",
        ),
        (
            lambda c: c["runs"]["synthetic-32-fastgan-10"].pop("max_train_photos"),
            "runs.synthetic-32-fastgan-10.max_train_photos is missing (params.yaml)",
        ),
        (set_run("max_train_photos", 3), "max_train_photos=3 is below train_photos=5: raise it, or null for the same"),
        (
            lambda c: c["runs"]["synthetic-32-fastgan-10"].pop("seed"),
            "runs.synthetic-32-fastgan-10.seed is missing (params.yaml)",
        ),
        (set_run("seed", "one"), "runs.synthetic-32-fastgan-10.seed='one': Input should be a valid integer (params.yaml)"),
        (lambda c: c["runs"].update({"a.b": c["runs"]["synthetic-32-fastgan-10"]}), "runs: name 'a.b': allowed are"),
        (lambda c: c["generators"]["fastgan"].update(snapshots=[0.5, 1.0]), "must rise from 0 to 1"),
        (lambda c: c["attack"].update(num_permutations=100), "cannot reach p < verdicts.control_p=0.01"),
        (lambda c: c["embedders"]["synthetic-arcface"].pop("steps"), "needs either weights"),
        (lambda c: c["datasets"]["synthetic"].pop("num_identities"), "reader synthetic needs num_identities"),
        (lambda c: c["datasets"]["synthetic"].update(num_pairs=21), "num_pairs=21: Input should be a multiple of 2"),
        (lambda c: c.update(study="../elsewhere"), "study: name '../elsewhere': allowed are"),
        (lambda c: c.update(runs={}), "runs: Dictionary should have at least 1 item"),
        (set_run("kimg", float("nan")), "runs.synthetic-32-fastgan-10.kimg=nan: Input should be"),
        (set_run("flip", True), "runs.synthetic-32-fastgan-10.flip is not a known key"),
        (set_run("seed", True), "runs.synthetic-32-fastgan-10.seed=True: Input should be a valid integer"),
        (set_run("num_identities", 1), "num_identities=1: Input should be greater than or equal to 2 (params.yaml)"),
        (set_run("num_generated", 9), "num_generated=9: Input should be greater than or equal to 10 (params.yaml)"),
        (set_run("seed", 2**64), "seed=18446744073709551616: Input should be less than 4294967296"),
        (lambda c: c["attack"].update(num_snapshot_faces=1), "num_snapshot_faces=1: Input should be greater than or equal to 2"),
        (lambda c: c["datasets"]["synthetic"].update(resolutions=[32, 32]), "resolutions=[32, 32]: each resolution must be"),
        (lambda c: c["embedders"]["synthetic-arcface"].update(batch_size=1), "batch_size=1: Input should be greater than 1"),
        (lambda c: c["embedders"]["synthetic-arcface"].update(net="facenet"), "net='facenet' cannot be trained here: give"),
        (lambda c: c["embedders"]["synthetic-arcface"].update(optional=True), "optional: true is for weights that are a file"),
        (lambda c: c["embedders"]["dlib"].update(optional=True), "embedders.dlib: optional: true is for weights that are a file"),
        (lambda c: c["embedders"]["dlib"].update(mean=1.0, scale=2.0), "['mean', 'scale'] are keys of net: onnx alone: remove"),
        (add_onnx(), "net: onnx also needs ['colours', 'mean', 'scale']: colours is rgb or bgr, and the model takes (pixel"),
        (add_onnx(colours="rgb", mean=1.0, scale=0.0), "embedders.own.scale=0.0: Input should be greater than 0"),
        (add_onnx(colours="grb", mean=1.0, scale=1.0), "embedders.own.colours='grb' is not one of ['rgb', 'bgr']"),
        (add_onnx(colours="rgb", mean=1.0, scale=1.0, sha256="abc"), "embedders.own.sha256='abc': String should match pattern"),
        (use_stylegan2("channel_base"), "40.resolution=32 needs a generators.stylegan2.channel_base of at least 32, since"),
        (use_stylegan2("channel_base_discriminator"), "needs a generators.stylegan2.channel_base_discriminator of at least 32"),
        (set_run("kimg", "8e-4"), "and YAML takes this for text: write a point and a sign, as in 8.0e-4"),
    ],
)
def test_a_mistake_is_one_sentence(project, change, sentence):
    with pytest.raises(ValueError) as caught:
        project(change)
    assert sentence in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda s: s["tiny"].update(data_shares=[0.1, 0.2]), "experiments.tiny: data_shares=[0.1, 0.2] must rise from 0"),
        (lambda s: s["tiny"].update(design="square", num_rotations=3), "num_rotations=3 is not the number of data_shares, 2"),
        (lambda s: s["tiny"].update(baseline="tiny"), "experiments.tiny.baseline='tiny' is not one of ['tiny-none']"),
        (lambda s: s["tiny"].update(dataset="nobody"), "experiments.tiny.dataset='nobody' is not one of ['tiny']"),
        (lambda s: s["tiny"].update(kimg=9.0), "experiments.tiny.kimg=9.0 differs from experiments.tiny-none.kimg=0.3"),
        (lambda s: s["tiny"].update(num_overrepresented=3, num_rotations=3), "tiny has 3 over-represented identities"),
        (lambda s: s["tiny"].update(num_rotations=4), "design='single' with num_rotations=4: 2 targets at 1 data shares"),
        (lambda s: s["tiny"].update(num_overrepresented=1, num_rotations=1), "at least 2 are needed"),
        (lambda s: s["tiny"].update(design="cross"), "experiments.tiny.design='cross'"),
        (lambda s: s["tiny-none"].update(num_rotations=1), "kind='none' with num_rotations=1"),
        (lambda s: s["tiny"].update(num_generated=9), "experiments.tiny.num_generated=9: Input should be greater than"),
        (lambda s: s.update({"a b": s["tiny"]}), "experiments: name 'a b': allowed are"),
    ],
)
def test_a_mistake_in_an_experiment_is_one_sentence(root, tmp_path, change, sentence):
    content = merge_study("smoke", root)
    change(content["experiments"])
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(content))
    with pytest.raises(ValueError) as caught:
        load_params(root=tmp_path)
    assert sentence in str(caught.value) and "\n" not in str(caught.value)


def test_experiments_need_the_constants_that_judge_them(root, tmp_path):
    content = merge_study("smoke", root)
    del content["overrepresentation"]
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(content))
    with pytest.raises(ValueError, match="experiments need the section overrepresentation"):
        load_params(root=tmp_path)


def test_generators_of_an_experiment_are_not_those_of_a_run_of_its_name(root, tmp_path):
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(merge_study("smoke", root)))
    params = load_params(root=tmp_path)
    assert params.experiment_checkpoints_folder("tiny", "members").parent != params.checkpoints_folder("tiny", "members").parent
    assert params.experiment_rows_file("tiny") != params.rows_file("tiny")


@pytest.mark.parametrize("text", [b"runs: [", b"- a list", b"", b"study: \xff", b"? [a]\n: 1\n", b"study: 2024-13-45\n",
                                  b"[" * 3000])  # fmt: skip
def test_a_file_that_is_no_params_file_is_one_sentence(project, tmp_path, text):
    project()
    (tmp_path / "params.yaml").write_bytes(text)
    with pytest.raises(ValueError, match=r"params\.yaml (is not YAML|holds)"):
        load_params(root=tmp_path)


def test_a_section_that_stands_twice_is_refused(project, tmp_path):
    """Somebody who pastes the README's lines below the file's own would lose the runs above."""
    project()
    text = (tmp_path / "params.yaml").read_text()
    (tmp_path / "params.yaml").write_text(text + "runs: {}\n")
    with pytest.raises(ValueError, match=r"params.yaml is not YAML: 'runs' stands twice in one section \(lines \d+ and \d+\)"):
        load_params(root=tmp_path)


def test_tiny_writes_to_scratch_and_the_study_does_not(project, tmp_path):
    assert project(name="tiny").generators_folder("tiny") == tmp_path / "scratch" / "models" / "generators" / "tiny"
    params = project(name="synthetic-32-fastgan-10")
    assert params.generators_folder("synthetic-32-fastgan-10") == tmp_path / "models" / "generators" / "synthetic-32-fastgan-10"
    with pytest.raises(ValueError, match="'tinny' is not a run, experiment, data set, trade-off or study"):
        project(name="tinny")


def test_a_name_of_another_kind_is_refused_in_a_notebook_too(project):
    params = project(name="embedded")  # a study, where 3_train needs a run and 1_faces a data set
    for section, kind in ((params.runs, "run"), (params.datasets, "dataset")):
        with pytest.raises(ValueError, match=rf"^{kind}='embedded' is not one of \[.*\] \(params.yaml\)$"):
            section["embedded"]


OVERLAY = """
study: mine
run_defaults: {dataset: mine, resolution: 32, generator: fastgan, train_photos: 5, max_train_photos: null, query_photos: 5,
  kimg: 20, num_generated: 3000, num_effort: null, seed: 1}
runs:
  ten: {num_identities: 10}
  forty: {num_identities: 40, kimg: 30}
datasets:
  mine: {reader: folder, root: photos, auxiliary: {photos: [4, 9]}, resolutions: [32], embedders: [synthetic-arcface]}
attack: {num_untrained: 7}
"""


@pytest.fixture
def overlay(root, project):
    """A project, and a function that writes an overlay and loads it."""
    folder = project().root
    (folder / "studies").mkdir(exist_ok=True)

    def load(text):
        (folder / "studies" / "mine.yaml").write_text(text)
        return load_study("mine", folder)

    return load


def test_an_overlay_replaces_runs_merges_sections_and_drops_data_sets_that_nothing_names(overlay, root):
    params, base = overlay(OVERLAY), load_params(root=root)
    assert list(params.runs) == ["ten", "forty"] and list(params.datasets) == ["mine"]
    assert (params.runs["ten"].kimg, params.runs["forty"].kimg) == (20, 30), "a line's own value counts"
    assert params.attack == base.attack.model_copy(update={"num_untrained": 7})
    assert params.generators == base.generators and params.verdicts == base.verdicts


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ("kimg: 30", "kimgs: 30", "runs.forty.kimgs is not a known key: remove it or check its spelling (studies/mine.yaml)"),
        ("num_untrained: 7", "num_untrained: many", "attack.num_untrained='many': Input should be a valid integer"),
        ("attack:", "runs:", "studies/mine.yaml is not YAML: 'runs' stands twice in one section"),
        ("dataset: mine", "dataset: yours", "runs.ten.dataset='yours' is not one of ['synthetic', 'mine'] (studies/mine.yaml)"),
        ("attack: {num_untrained: 7}", "nothing: 1", "nothing is not a known key: remove it or check its spelling"),
        ("attack: {num_untrained: 7}", "attack: [7]", "attack=[7]: Input should be a valid dictionary"),
        ("attack: {num_untrained: 7}", "experiments: 3", "experiments=3: Input should be a valid dictionary"),
        ("attack: {num_untrained: 7}", "verdicts: 2026-01-01", "verdicts=datetime.date(2026, 1, 1): Input should be a valid"),
        ("{num_identities: 10}", "{num_identities: 10, dataset: [mine]}", "runs.ten.dataset=['mine']: Input should be a valid"),
        ("root: photos", "root: ''", "datasets.mine.root='': String should have at least 1 character (studies/mine.yaml)"),
        ("root: photos", "leave_out_foreign: true", "datasets.mine: leave_out_foreign: true needs identity_check, an embedder"),
        (", auxiliary: {photos: [4, 9]}", "", "datasets.mine.auxiliary is missing (studies/mine.yaml)"),
        ("{photos: [4, 9]}", "{photos: [4, 9], last: 3}", "datasets.mine.auxiliary: give exactly one of photos: [low, high]"),
        ("{photos: [4, 9]}", "{photos: [9, 4]}", "datasets.mine.auxiliary: photos=[9, 4]: low is above high, so that nobody is"),
    ],
)
def test_a_mistake_in_an_overlay_is_one_sentence_that_names_its_file(overlay, old, new, sentence):
    with pytest.raises(ValueError) as caught:
        overlay(OVERLAY.replace(old, new))
    assert str(caught.value).startswith(sentence), caught.value
    assert "\n" not in str(caught.value)


def test_checkpoints_of_other_params_or_members_are_another_folder(project):
    run = "synthetic-32-fastgan-10"
    first = project().checkpoints_folder(run, "members")
    assert project().checkpoints_folder(run, "members") == first
    assert project().checkpoints_folder(run, "others") != first
    assert project(set_run("kimg", 1)).checkpoints_folder(run, "members") != first
    assert project(set_run("num_generated", 10)).checkpoints_folder(run, "members") == first, "sampling more retrains nothing"


def test_tables_come_back_as_they_went(tmp_path):
    import pandas as pd

    table = pd.DataFrame({"identity": ["NA", "control"], "reason": ["", ""], "value": [0.5, float("nan")]})
    save_table(table, tmp_path / "new" / "table.csv")
    pd.testing.assert_frame_equal(load_table(tmp_path / "new" / "table.csv"), table, check_dtype=False)
    assert sorted(p.name for p in (tmp_path / "new").iterdir()) == ["table.csv"], "the temporary name is gone"


def test_a_missing_input_says_what_makes_it(tmp_path):
    with pytest.raises(FileNotFoundError, match="make study"):
        require_file(tmp_path / "faces.npy")


def test_json_and_arrays_are_written_whole(tmp_path):
    import numpy as np

    save_json({"b": 1, "a": None}, tmp_path / "x.json")
    assert (tmp_path / "x.json").read_text() == '{\n  "a": null,\n  "b": 1\n}\n'
    save_array(np.arange(3), tmp_path / "x.npy")
    assert np.load(tmp_path / "x.npy").tolist() == [0, 1, 2]


def test_shared_weights_are_found_or_none(root, tmp_path, monkeypatch):
    monkeypatch.setenv("PPE_SHARED", str(tmp_path))
    params = load_params(root=root)
    assert params.shared_weights("a.pth") is None
    (tmp_path / "weights").mkdir()
    (tmp_path / "weights" / "a.pth").touch()
    assert params.shared_weights("a.pth") == tmp_path / "weights" / "a.pth"


def test_two_runs_of_the_embedded_study_differ_in_the_number_of_identities_alone(root):
    runs = [run.model_dump(exclude={"num_effort"}) for run in load_params(root=root).runs.values()]
    differences = [{key for key in one if one[key] != other[key]} for one, other in itertools.combinations(runs, 2)]
    assert {"num_identities"} in differences


def test_a_root_of_a_user_who_is_not_there_is_a_sentence(project):
    params = project(lambda content: content["datasets"]["synthetic"].update(root="~nosuchperson/photos"))
    with pytest.raises(ValueError, match="names a user whom this machine does not know: write the folder"):
        params.dataset_root("synthetic")


def test_a_run_of_params_yaml_says_its_defence_and_one_of_an_overlay_need_not(project, overlay):
    with pytest.raises(ValueError, match=r"^runs.synthetic-32-fastgan-10.defence is missing \(params.yaml\)$"):
        project(lambda content: content["runs"]["synthetic-32-fastgan-10"].pop("defence"))  # dvc stops where it is not there
    project()
    assert overlay(OVERLAY).runs["ten"].defence == "none"


def test_an_optional_embedder_without_its_file_is_left_out_of_every_list(project, tmp_path):
    """All else of the params stays, and a file that comes later counts at the next load."""

    def change(content):
        content["embedders"]["mobilefacenet-casia"] |= {"weights": "own.pth", "optional": True}
        content["datasets"]["synthetic"]["embedders"] = ["mobilefacenet-casia", "synthetic-arcface"]

    params = project(change)
    assert params.datasets["synthetic"].embedders == ["synthetic-arcface"]
    assert params.absent == {"mobilefacenet-casia": tmp_path / "own.pth"} and "mobilefacenet-casia" in params.embedders
    assert params.root == tmp_path and params.runs == project().runs
    (tmp_path / "own.pth").touch()
    assert project(change).datasets["synthetic"].embedders == ["mobilefacenet-casia", "synthetic-arcface"]
    assert project(change).absent == {} == project().absent, "one that no data set names is not missed"


def test_a_data_set_that_would_be_left_without_an_embedder_is_one_sentence(project, tmp_path):
    def change(content):
        content["embedders"]["mobilefacenet-casia"] |= {"weights": "own.pth", "optional": True}
        content["datasets"]["synthetic"]["embedders"] = ["mobilefacenet-casia"]

    with pytest.raises(ValueError, match="datasets.synthetic.embedders=.'mobilefacenet-casia'. are all optional") as caught:
        project(change)
    assert str(tmp_path / "own.pth") in str(caught.value) and "\n" not in str(caught.value)
