"""``python -m ppe new``: what is proposed for folders of several shapes passes the checks of the first stage, or is refused."""

import shutil

import pytest
import yaml
from PIL import Image

from ppe.config.params import load_study
from ppe.datasets.index import read_index
from ppe.pipeline.new_study import write_study
from ppe.pipeline.preflight import check_dataset, count_pairs, list_auxiliary, list_photos


@pytest.fixture
def project(root, tmp_path, monkeypatch):
    """A project with params.yaml and no study; no weights lie beside it."""
    folder = tmp_path / "project"
    (folder / "studies").mkdir(parents=True)
    shutil.copyfile(root / "params.yaml", folder / "params.yaml")
    monkeypatch.setenv("PPE_SHARED", str(tmp_path / "nowhere"))
    return folder


def write_photos(folder, counts, copied=False):
    """One folder an identity, of ``counts`` small photos each: only their headers are read. ``copied``: each lies there twice."""
    for number, count in enumerate(counts):
        (folder / f"p{number:03d}").mkdir(parents=True)
        for photo in range(count):
            for name in (f"{photo}.png", *[f"{photo} (1).png"] * copied):
                Image.new("RGB", (40, 40), (number, photo, 0)).save(folder / f"p{number:03d}" / name)
    return folder


@pytest.mark.parametrize(
    ("counts", "sizes", "photos"),
    [
        ([12] * 36 + [5] * 50, [10], 5),  # many photos of some, few of others: as in the wild
        ([4] * 60, [10], 2),  # as many of everybody
        ([30] * 24, [4], 5),  # many photos of few
        ([4] * 13 + [3] * 10, [4], 2),  # hardly enough
        ([4] * 14 + [3] * 8, [4], 2),  # eight auxiliary identities: a fifth of them, two, tunes the attacks
        ([12] * 200 + [3] * 100, [10, 40], 5),
    ],
)
def test_what_is_proposed_passes_the_checks_of_the_first_stage(project, tmp_path, counts, sizes, photos, capsys):
    root = write_photos(tmp_path / "photos", counts)
    file = write_study(name="mine", root=root, project=project)
    params = load_study("mine", project)
    assert [run.num_identities for run in params.runs.values()] == sizes
    assert {(run.train_photos, run.query_photos) for run in params.runs.values()} == {(photos, photos)}
    check_dataset(read_index("folder", root=root), "mine", params.datasets["mine"], params.runs, params.embedders)
    text = file.read_text()
    assert len(text.splitlines()) <= 18 and max(map(len, text.splitlines())) <= 160 and "study: mine" in text
    said = capsys.readouterr().out
    assert f"of {len(counts)} identities" in said and "make study STUDY=mine" in said
    assert yaml.safe_load(text)["datasets"]["mine"]["root"] == str(root), "absolute: it means the same in a study's copy"


@pytest.mark.parametrize(
    ("counts", "name", "sentence"),
    [
        ([1] * 30, "mine", "of 30 identities 0 have at least 2 photos, 0 at least 4 and 0 at least 10, but a study needs"),
        ([4] * 9, "mine", "needs 3 groups of at least 4 identities with 2"),
        ([4] * 3, "mine", "of 3 identities 3 have at least 2 photos, 3 at least 4 and 0 at least 10, but a study needs"),
        ([4] * 13 + [3] * 6, "mine", "needs 3 groups of at least 4 identities with 2 . 2 photos each, and 8 others"),
        ([4] * 60, "Mine", "name 'Mine': allowed are lower-case letters"),
        ([4] * 60, "on", "name 'on': YAML takes it for a number, a date or a truth value: add a letter, as in my-on"),
        ([4] * 60, "123", "name '123': YAML takes it for a number"),
        ([4] * 60, "1e5", "name '1e5': YAML takes it for a number"),
        ([4] * 60, "synthetic", "'synthetic' is taken"),
        ([4] * 60, "embedded", "'embedded' is taken"),
        ([4] * 60, "tiny", "'tiny' is taken"),
    ],
)
def test_what_cannot_work_is_refused_in_one_sentence_and_nothing_is_written(project, tmp_path, counts, name, sentence):
    root = write_photos(tmp_path / "photos", counts)
    with pytest.raises(ValueError, match=sentence) as error:
        write_study(name=name, root=root, project=project)
    assert "\n" not in str(error.value) and not list((project / "studies").iterdir())


@pytest.mark.parametrize("is_installed", [True, False])
@pytest.mark.parametrize("has_file", [True, False])
def test_published_models_that_are_here_come_first_and_the_best_checks_identities(
    project, tmp_path, monkeypatch, capsys, is_installed, has_file
):
    monkeypatch.setattr("ppe.embedders.dlib.find_installed", lambda: tmp_path if is_installed else None)
    if has_file:
        lay = tmp_path / "nowhere" / "weights" / "mobilefacenet-casia.pth"
        lay.parent.mkdir(parents=True)
        lay.touch()
    write_study(name="mine", root=write_photos(tmp_path / "photos", [12] * 36 + [5] * 50), project=project)
    settings, said = load_study("mine", project).datasets["mine"], capsys.readouterr().out
    published = ["dlib"] * is_installed + ["mobilefacenet-casia"] * has_file
    assert settings.embedders == [*published, "mine-arcface", "mine-triplet"]
    assert settings.identity_check == next(iter(published), None)
    assert (f"{settings.identity_check} chooses among several faces" in said) == bool(published)
    assert ("without published weights there will probably be no verdict" in said) == (not published)


def test_a_root_that_is_no_folder_of_people_is_said_of_the_option_that_gave_it(project, tmp_path):
    (tmp_path / "a.jpg").write_bytes(b"x")
    for root, sentence in ((tmp_path / "a.jpg", r"is not a folder \(--root\)$"), (tmp_path, r"<identity>/<image> \(--root\)$")):
        with pytest.raises((ValueError, FileNotFoundError), match=sentence) as caught:
            write_study(name="mine", root=root, project=project)
        assert "params.yaml" not in str(caught.value)


def test_copies_of_a_photo_count_once(project, tmp_path, capsys):
    root = write_photos(tmp_path / "photos", [5] * 36 + [4] * 50, copied=True)
    write_study(name="mine", root=root, project=project)
    run = next(iter(load_study("mine", project).runs.values()))
    assert (run.train_photos, run.query_photos) == (2, 2), "five pictures, not ten photos"
    with pytest.raises(ValueError, match="of 30 identities 0 have at least 2 photos"):
        write_study(name="yours", root=write_photos(tmp_path / "yours", [1] * 30, copied=True), project=project)


def test_a_second_study_of_one_name_is_refused(project, tmp_path):
    root = write_photos(tmp_path / "photos", [4] * 60)
    write_study(name="mine", root=root, project=project)
    with pytest.raises(ValueError, match="edit studies/mine.yaml"):
        write_study(name="mine", root=root, project=project)


def test_a_path_with_quotes_is_written_as_it_is(project, tmp_path):
    root = write_photos(tmp_path / """a "b" 'c': #d""", [4] * 60)
    write_study(name="mine", root=root, project=project)
    assert load_study("mine", project).datasets["mine"].root == str(root)


def test_a_quick_trial_has_the_sizes_of_the_smallest_study_and_no_published_model(root, project, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("ppe.embedders.dlib.find_installed", lambda: tmp_path)
    shutil.copyfile(root / "studies" / "smoke.yaml", project / "studies" / "smoke.yaml")
    write_study(name="trial", root=write_photos(tmp_path / "photos", [12] * 36 + [5] * 50), quick=True, project=project)
    assert load_study("trial", project).toy, "its numbers are not counted among results"
    trial, smoke = (load_study(name, project) for name in ("trial", "smoke"))
    run, tiny = trial.runs["trial-32-fastgan-4"], smoke.runs["tiny"]
    assert list(trial.runs) == ["trial-32-fastgan-4"] and (run.kimg, run.num_generated) == (tiny.kimg, tiny.num_generated)
    assert trial.attack == smoke.attack and trial.generators.fastgan == smoke.generators.fastgan
    assert trial.embedders["trial-arcface"].steps == smoke.embedders["synthetic-arcface"].steps
    assert trial.datasets["trial"].embedders == ["trial-arcface", "trial-triplet"] and not trial.datasets["trial"].identity_check
    assert "numbers mean nothing" in capsys.readouterr().out


def test_a_lost_photo_leaves_enough_pairs_to_check_the_models(project, tmp_path):
    root = write_photos(tmp_path / "photos", [4] * 60)
    write_study(name="mine", root=root, project=project)
    dataset = load_study("mine", project).datasets["mine"]
    others = list_auxiliary(list_photos(read_index("folder", root=root), dataset.auxiliary), dataset.seed)
    assert dataset.num_pairs <= 2 * min(count_pairs(others))
    checks = others[others.part != "embedder"]
    assert dataset.num_pairs <= 2 * min(count_pairs(others.drop(checks.index[0])))
