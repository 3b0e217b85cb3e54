"""Paths of params.yaml mean the same in the project and in a copy of it: of a study, and of ``dvc exp run``."""

import shutil

import pytest
import yaml

from ppe.config import find_shared, load_params


@pytest.fixture
def make_project(root):
    """A function that makes a folder look like the project, with a relative root and relative weights."""

    def make(folder):
        (folder / "ppe").mkdir(parents=True)
        shutil.copyfile(root / "dvc.yaml", folder / "dvc.yaml")
        content = yaml.safe_load((root / "params.yaml").read_text())
        content["datasets"]["synthetic"]["root"] = "../photos"
        content["embedders"]["mobilefacenet-casia"]["weights"] = "weights/own.pth"
        (folder / "params.yaml").write_text(yaml.safe_dump(content))
        return folder

    return make


@pytest.mark.parametrize("place", [".", ".studies/mine", ".dvc/tmp/exps/tmp1", ".dvc/tmp/exps/standalone/tmp1",
                                   ".dvc/tmp/exps/standalone/tmp1/below", ".dvc/tmp/exps/tmp1/.studies/mine"])  # fmt: skip
def test_a_relative_path_starts_at_the_project_wherever_its_copy_lies(make_project, tmp_path, monkeypatch, place):
    monkeypatch.setenv("PPE_SHARED", "set, so that it is as it was after the test")
    monkeypatch.delenv("PPE_SHARED")
    project = make_project(tmp_path / "home" / "project")
    copy = project if place == "." else make_project(project / place)
    params = load_params(root=copy)
    assert find_shared(copy) == tmp_path / "home" / "shared"
    assert params.dataset_root("synthetic").resolve() == tmp_path / "home" / "photos"
    assert params.weights_file("mobilefacenet-casia", "synthetic") == project / "weights" / "own.pth"
    assert params.download_folder() == project / "downloads"
    assert params.index_file("synthetic").is_relative_to(copy), "what a copy makes stays in the copy"


def test_a_project_in_a_folder_that_is_only_named_like_a_home_of_copies_is_its_own(make_project, tmp_path):
    project = make_project(tmp_path / ".studies" / "project")
    assert load_params(root=project).weights_file("mobilefacenet-casia", "synthetic") == project / "weights" / "own.pth"
