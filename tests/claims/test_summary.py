"""The README's table, what a rerun moved, and what a stage took."""

import json
import os
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from synthetic_rows import judge, make_experiment, make_run

from ppe.__main__ import main
from ppe.claims.summary import MARKERS, compare_headlines, load_claims, put_summary, write_summary
from ppe.config import load_params, load_table, save_table
from ppe.pipeline.runtime import COLUMNS, measure_costs, sum_minutes


def test_the_readme_holds_what_the_command_would_write(root):
    files = load_params(root=root).claims_files()
    assert files, "python -m ppe collect and the notebook 7_claims make results/<study>/claims.csv"
    costs = {study: load_table(file.parent / "cost.csv") for study, file in files.items() if (file.parent / "cost.csv").exists()}
    text = (root / "README.md").read_text(encoding="utf-8")
    assert put_summary(text, write_summary(load_claims(files), costs)) == text, "run `python -m ppe claims`"


def test_committed_claims_are_what_the_committed_rows_say(root, tmp_path):
    for study, file in load_params(root=root).claims_files().items():
        data_shares = load_table(file.parent / "doses.csv") if (file.parent / "doses.csv").exists() else None
        save_table(judge(load_table(file.parent / "attacks.csv"), data_shares=data_shares), tmp_path / f"{study}.csv")
        assert (tmp_path / f"{study}.csv").read_text() == file.read_text(), f"{study}: run the notebook 7_claims"


def test_the_summary_shows_one_row_a_cell_and_what_it_took(tmp_path):
    rows = [make_run("ten", (0.7, 0.6, 0.8)), make_run("forty", (0.5, 0.4, 0.6), num_identities=40)]
    save_table(judge(*rows), tmp_path / "claims.csv")
    costs = pd.DataFrame([("train", "ten", 240, 2, "cpu"), ("attack", "ten", 60, 2, "cpu")], columns=COLUMNS)
    lines = write_summary(load_claims({"mine": tmp_path / "claims.csv"}), {"mine": costs}).splitlines()
    assert [line.split("|")[1].strip()[:2] for line in lines[2:]] == ["C1", "C1", "C2", "C3", "C4"]
    assert "| mine | d, fastgan, 32 | 10 | 32 | AUC 0.70 [0.60, 0.80] | **supported** | 5 |" in lines[2]
    assert "| mine | d, fastgan, 32 | 40 | 32 | AUC 0.50 [0.40, 0.60] | **not resolved** |  |" in lines[3], "and of most people"


def test_a_verdict_on_some_of_the_seeds_of_another_is_left_out(tmp_path):
    seeds = [make_run("one", (0.7, 0.6, 0.8)), make_run("two", (0.6, 0.503, 0.7), seed=2)]
    for name, runs in (("few", seeds[1:]), ("all", seeds)):
        save_table(judge(*runs), tmp_path / name / "claims.csv")
    text = write_summary(load_claims({name: tmp_path / name / "claims.csv" for name in ("few", "all")}), {})
    assert "| all | d, fastgan, 32 | 10 | 32 | AUC 0.65 [0.55, 0.75] |" in text and "| few |" not in text
    alone = write_summary(load_claims({"few": tmp_path / "few" / "claims.csv"}), {})
    assert "AUC 0.60 [0.503, 0.700]" in alone, "an end that is not chance does not look like it"


def test_where_there_is_no_interval_the_table_shows_p(tmp_path):
    run = make_run("few", (0.8, np.nan, np.nan), p_value=0.004, num_identities=8)
    save_table(judge(run), tmp_path / "claims.csv")
    text = write_summary(load_claims({"mine": tmp_path / "claims.csv"}), {})
    assert "| mine | d, fastgan, 32 | 8 | 32 | AUC 0.80 (p = 0.0040) | **supported** |" in text


def test_searches_without_a_suspect_stand_below_the_table(tmp_path):
    none = make_experiment("none", "none").iloc[:1].assign(measure="false_alarms", statistic="share", num_generators=8, calibration="real",
                                                       value=0.25, low=0.03, high=0.65)  # fmt: skip
    found = make_experiment().query("statistic == 'mean'").assign(measure="detected", calibration="real", value=[0.0, 0.6])
    save_table(judge(make_run("ten", (0.7, 0.6, 0.8)), data_shares=pd.concat([none, make_experiment(), found])), tmp_path / "claims.csv")
    last = write_summary(load_claims({"mine": tmp_path / "claims.csv"}), {}).splitlines()[-1]
    assert last == ("- mine, search without a suspect against real faces of auxiliary people: discovered at the largest dose "
                    "(many 3 of 5); false alarms in 2 of 8 GANs in which nobody stands out (25% [3%, 65%]).")


def test_only_what_is_between_the_markers_is_written():
    text = "before\n{}\nold\n{}\nafter\n".format(*MARKERS)
    once = put_summary(text, "| new |")
    assert once == "before\n{}\n| new |\n{}\nafter\n".format(*MARKERS)
    assert put_summary(once, "| new |") == once
    for broken in ("no markers", "{1} {0}".format(*MARKERS), text + MARKERS[0]):
        with pytest.raises(ValueError, match="README.md must hold"):
            put_summary(broken, "")


def test_a_headline_moved_if_it_left_the_committed_interval():
    committed = pd.concat([
        make_run("in", (0.7, 0.6, 0.8)), make_run("out", (0.7, 0.6, 0.8)), make_run("few", (0.7, np.nan, np.nan)),
        make_run("old", (0.7, 0.6, 0.8)),
    ])  # fmt: skip
    fresh = pd.concat([make_run(name, (0.65 if name == "in" else 0.85, 0.6, 0.9)) for name in ("in", "out", "few", "late")])
    table = compare_headlines(committed, fresh).set_index("run")
    assert table.moved.to_dict() == {"in": "within", "out": "moved", "few": "no interval", "old": "gone", "late": "new"}


def test_the_check_says_it_in_a_line_and_ends_with_a_status(root, tmp_path, monkeypatch, capsys):
    for name in ("params.yaml", "dvc.yaml"):
        (tmp_path / name).write_text((root / name).read_text())
    (tmp_path / "ppe").mkdir()
    file = tmp_path / "results" / "embedded" / "attacks.csv"
    save_table(make_run("ten", (0.7, 0.6, 0.8)), file)
    identity = ["-c", "user.name=nobody", "-c", "user.email=nobody@example.org"]
    for command in (["init", "-q"], ["add", "."], [*identity, "commit", "-qm", "rows"]):
        subprocess.run(["git", *command], cwd=tmp_path, check=True)

    def check(*study):
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr(sys, "argv", ["ppe", "check", *study])
        with pytest.raises(SystemExit) as ended:
            main()
        return ended.value.code, capsys.readouterr().out

    status, said = check()
    assert status == 0 and said.split()[:2] == ["within", "ten:"]
    save_table(make_run("ten", (0.9, 0.8, 0.95)), file)
    status, said = check("embedded")
    assert status == 1 and "moved" in said and "fresh 0.900" in said
    said = check("nothing")[0]
    assert said == "results/nothing/attacks.csv is not committed: there is nothing to compare with, as there is for ['embedded']"


def test_costs_come_from_papermill_and_of_a_found_training_from_its_files(tmp_path):
    executed, folder = tmp_path / "executed", tmp_path / "checkpoints"
    executed.mkdir()

    def execute(name, seconds, exception=None):
        content = {"metadata": {"papermill": {"duration": seconds, "exception": exception}}}
        (executed / f"{name}.ipynb").write_text(json.dumps(content))

    execute("1_faces-d", 42.4)
    execute("3_train-one", 5.0)
    execute("5_attack-one", 60.0, exception=True)
    for group, (first, last) in {"a": (1000, 1200), "b": (1010, 1240)}.items():
        (folder / group).mkdir(parents=True)
        for file, time in (("snapshot-000000000.safetensors", first), ("finished.json", last)):
            (folder / group / file).touch()
            os.utime(folder / group / file, (time, time))
    known = [("attack", "one", 90, 2, "cpu"), ("faces", "d", 1, 2, "cpu"), ("train", "gone", 9, 2, "cpu")]
    known = pd.DataFrame(known, columns=COLUMNS)
    execute("8_doses-many", 30.0)
    noted = {("background", "many"): 7.0, ("embed-experiment", "many"): 12.0}
    checkpoints = {("train", "one"): [folder], ("background", "many"): [folder]}
    costs = measure_costs(executed, ["d"], ["one"], checkpoints, device="cpu", experiments=["many"], noted=noted, known=known)
    found = {(row.stage, row.run): row.seconds for row in costs.itertuples()}
    assert found == {
        ("faces", "d"): 42, ("train", "one"): 240, ("attack", "one"): 90,
        ("background", "many"): 240, ("embed-experiment", "many"): 12, ("data_share", "many"): 30,
    }  # fmt: skip
    assert sum_minutes(costs, ["many"]) == pytest.approx(4.7)
    assert sum_minutes(costs, ["one"]) == pytest.approx(5.5) and np.isnan(sum_minutes(costs, ["other"]))
