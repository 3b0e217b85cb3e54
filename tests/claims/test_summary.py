"""The tables of the README and of docs/results.md, and what a rerun changed."""

import json
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
import yaml
from synthetic_rows import RULES, judge, make_difference, make_experiment, make_run

from ppe.__main__ import leave_out_toys, main
from ppe.claims.comparison import compare_headlines
from ppe.claims.summary import (
    ATTACKS_MARKERS,
    CLAIMS_MARKERS,
    EARLIER,
    RESULTS_MARKERS,
    join_claims,
    load_claims,
    load_earlier,
    put_summary,
    write_claims,
    write_results,
    write_tables,
)
from ppe.claims.verdicts import judge_claims
from ppe.config import load_params, load_table, save_table
from ppe.pipeline.project_copy import list_git_files


@pytest.fixture
def files(root):
    """Committed verdicts, study -> path: other studies may have been run here."""
    committed = {file.split("/")[1] for file in list_git_files(root, "results/*/claims.csv")}
    return {study: file for study, file in load_params(root=root).claims_files().items() if study in committed}


@pytest.mark.parametrize("page", ["README.md", "docs/results.md", "docs/attacks.md"])
def test_a_page_holds_what_the_command_would_write(root, files, tmp_path, page):
    assert files, "python -m ppe collect and the notebook 9_claims make results/<study>/claims.csv"
    (tmp_path / "docs").mkdir()
    for name in ("README.md", "docs/results.md", "docs/attacks.md"):
        (tmp_path / name).write_text((root / name).read_text(encoding="utf-8"), encoding="utf-8")
    write_tables(files, tmp_path, RULES)
    written, committed = ((folder / page).read_text(encoding="utf-8") for folder in (tmp_path, root))
    assert written == committed, "run `python -m ppe claims`"

AGAINST = "10 against 40, equal kimg"

def test_committed_claims_are_what_the_committed_rows_say(root, files, tmp_path):
    params = load_params(root=root)
    for study, file in files.items():
        own = yaml.safe_load((file.parent / "params.yaml").read_text()) if (file.parent / "params.yaml").exists() else {}
        datasets = own.get("datasets", {}) if own else {name: one.model_dump() for name, one in params.datasets.items()}
        exploratory = {name: settings.get("exploratory", []) for name, settings in datasets.items()}
        rows, shares = (load_table(file.parent / f"{name}.csv") for name in ("attacks", "overrepresentation"))
        scores = {path.stem: load_table(path) for path in (file.parent / "scores").glob("*.csv")}
        judged = judge_claims(rows, shares, params.verdicts, exploratory, scores, load_table(file.parent / "shared.csv"))
        save_table(judged, tmp_path / f"{study}.csv")
        assert (tmp_path / f"{study}.csv").read_text() == file.read_text(), f"{study}: run the notebook 9_claims"


@pytest.fixture
def claims(tmp_path):
    """Claims of a study, written and read again, as ``load_claims`` gives them."""

    def write(*rows, study="mine", **options):
        save_table(judge(*rows, **options), tmp_path / study / "claims.csv")
        return load_claims({study: tmp_path / study / "claims.csv"})

    return write


def test_the_full_table_has_the_fewest_and_the_most_identities_of_a_cell(claims):
    sizes = [make_run(f"run{n}", (0.7 - n / 200, 0.6 - n / 200, 0.8 - n / 200), num_identities=n) for n in (10, 20, 40)]
    lines = write_claims(claims(*sizes), RULES.alpha).splitlines()
    assert lines[0] == "| claim | study | data, generator, pixels | identities | kimg | measured | verdict |"
    assert [line.split("|")[1].strip()[:2] for line in lines[2:]] == ["C1", "C1", "C2", "C3", "C4"]
    leak = "| mine | d, fastgan, 32 | 10 | 32 | AUC 0.65 [0.55, 0.75], p = 0.0003 | **supported, rivals untested** |"
    assert leak in lines[2], "of three"
    assert "| mine | d, fastgan, 32 | 40 | 32 | AUC 0.50 [0.40, 0.60], p = 0.6000 | **inconclusive** |" in lines[3]


def make_readme_study(dataset, best):
    """Runs of a data set with 10, 20 and 40 identities, in two resolutions, and their differences."""
    auc = {n: best - n / 200 for n in (10, 20, 40)}
    rows = [make_run(f"{dataset}-{n}", (x, x - 0.1, x + 0.1), num_identities=n, dataset=dataset) for n, x in auc.items()]
    rows.append(make_run(f"{dataset}-64", (0.9, 0.8, 0.95), resolution=64, dataset=dataset))
    rows.append(make_run(f"{dataset}-long", (0.95, 0.9, 0.99), kimg=128.0, num_identities=40, dataset=dataset))
    table = pd.concat(rows)
    kinds = (("equal kimg", f"{dataset}-40"), ("equal epochs", f"{dataset}-long"))
    rows += [make_difference(table, f"{dataset}-10", other, kind) for kind, other in kinds]
    return rows


def test_the_readme_has_a_few_rows_of_synthetic_identities_and_of_lfw(claims):
    experiments = pd.concat([make_experiment().assign(dataset="lfw"), make_experiment("again", "repeated").assign(dataset="lfw")])
    tables = {
        **claims(*make_readme_study("synthetic", 0.85), study="one"),
        **claims(*make_readme_study("lfw", 0.7), study="two", experiments=experiments, exploratory={"lfw": ["C4"]}),
        **claims(make_run("other", (0.7, 0.6, 0.8), dataset="other", generator="stylegan2"), study="three"),
    }
    lines = write_results(tables, RULES.alpha).splitlines()[2:]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    assert [row[0].split()[0] if row[0] else "" for row in cells] == ["Can", "", "", "", "Does", "", "Does", "Do", ""]
    assert [row[1:] for row in cells] == [
        ["synthetic, 32 px", "fastgan", "10", "AUC 0.80 [0.70, 0.90], p = 0.0017", "supported, rivals untested"],
        ["synthetic, 32 px", "fastgan", "40", "AUC 0.65 [0.55, 0.75], p = 0.0017", "supported, rivals untested"],
        ["LFW, 32 px", "fastgan", "10", "AUC 0.65 [0.55, 0.75], p = 0.0017", "supported, rivals untested"],
        ["LFW, 32 px", "fastgan", "40", "AUC 0.50 [0.40, 0.60], p = 1.0000", "inconclusive"],
        ["synthetic, 32 px", "fastgan", AGAINST, "difference of AUC 0.15 [0.01, 0.29], p = 0.1154", "inconclusive"],
        ["LFW, 32 px", "fastgan", AGAINST, "difference of AUC 0.15 [0.01, 0.29], p = 0.1154", "inconclusive"],
        ["3 data sets", "2 generators", "", "5 of 5 combinations, rivals untested in 5 of them", "supported"],
        *(["LFW, 32 px", "fastgan", kind, "matching faces +30.00 points [20.00, 40.00], p = 0.0160", "supported, exploratory"]
          for kind in ("5, many", "5, repeated")),
    ]


def test_rows_of_an_earlier_version_have_a_dagger(claims, tmp_path):
    tables = claims(make_run("ten", (0.7, 0.6, 0.8)), make_run("forty", (0.5, 0.4, 0.6), num_identities=40))
    files = {"mine": tmp_path / "mine" / "claims.csv"}
    assert load_earlier(files) == {"mine": set()}
    assert "†" not in write_claims(tables, RULES.alpha, load_earlier(files)) and EARLIER not in write_claims(tables, RULES.alpha)
    (tmp_path / "mine" / "earlier.json").write_text(json.dumps(["forty"]))
    assert load_earlier(files) == {"mine": {"forty"}}
    lines = write_claims(tables, RULES.alpha, load_earlier(files)).splitlines()
    assert ["†" in line for line in lines[2:5]] == [False, True, False] and lines[-2:] == ["", EARLIER]
    assert lines[3].endswith("**inconclusive** † |")
    (tmp_path / "mine" / "earlier.json").write_text(json.dumps(["ten"]))
    lines = write_claims(tables, RULES.alpha, load_earlier(files)).splitlines()
    assert ["†" in line for line in lines[2:6]] == [True, False, False, True], "C3 rests on the run"


def test_a_verdict_on_some_of_the_seeds_of_another_is_left_out(claims):
    seeds = [make_run("one", (0.7, 0.6, 0.8)), make_run("two", (0.6, 0.503, 0.7), seed=2)]
    few, both = claims(*seeds[1:], study="few"), claims(*seeds, study="both")
    text = write_claims(few | both, RULES.alpha)
    assert "| both | d, fastgan, 32 | 10 | 32 | AUC 0.65 [0.55, 0.75] (2 seeds, SD 0.07), p = 0.0002 |" in text
    assert "| few |" not in text
    assert "AUC 0.60 [0.503, 0.700]" in write_claims(few, RULES.alpha), "an end that is not chance does not look like it"


def test_a_run_that_two_studies_trained_counts_once(claims):
    """Before, a value that differed, as on another machine, made two verdicts of one run."""
    one, again = (claims(make_run("one", ends), study=study) for study, ends in (("a", (0.7, 0.6, 0.8)), ("b", (0.71, 0.6, 0.8))))
    joined = join_claims(one | again, RULES.alpha)
    assert joined[joined.claim == "C1"].study.tolist() == ["a"]
    apart = claims(make_run("one", (0.71, 0.6, 0.8), kimg=64), study="c")
    assert sorted(join_claims(one | apart, RULES.alpha).query("claim == 'C1'").study) == ["a", "c"], "another setting of one name"


def test_what_is_not_supported_has_its_bound_beside_it(claims):
    flat = make_experiment(p_value=0.6, contrast=(0.002, -0.01, 0.01))
    text = write_claims(claims(make_run("few", (0.5, 0.45, 0.52), p_value=0.5), experiments=flat), RULES.alpha)
    assert f"AUC 0.50 [0.45, 0.52], bound {RULES.small_auc:g}, p = 1.0000 | **not supported" in text
    assert "matching faces +0.20 points [-1.00, 1.00], bound " in text


def test_where_there_is_no_interval_the_table_gives_p(claims):
    text = write_claims(claims(make_run("few", (0.8, np.nan, np.nan), p_value=0.004, num_identities=8)), RULES.alpha)
    assert "| mine | d, fastgan, 32 | 8 | 32 | AUC 0.80, p = 0.0040 | **supported, rivals untested** |" in text


def test_density_scans_stand_below_the_full_table(claims):
    alarms = {"measure": "false_alarms", "statistic": "share", "num_generators": 8, "value": 0.25, "low": 0.03, "high": 0.65}
    none = make_experiment("none", "none").iloc[:1].assign(**alarms, calibration="cohort")
    found = make_experiment().query("statistic == 'mean'").assign(measure="detected", calibration="cohort", value=[0.0, 0.6])
    experiments = pd.concat([none, make_experiment(), found])
    last = write_claims(claims(make_run("ten", (0.7, 0.6, 0.8)), experiments=experiments), RULES.alpha).splitlines()[-1]
    assert last == ("- mine, density scan calibrated on photos of auxiliary identities. Detected at the largest data share: 3 of "
                    "5 (many). False alarms in 2 of 8 generators without an over-represented identity: 25% [3%, 65%].")


@pytest.mark.parametrize("markers", [RESULTS_MARKERS, CLAIMS_MARKERS])
def test_only_what_is_between_the_markers_is_written(markers):
    text = "before\n{}\nold\n{}\nafter\n".format(*markers)
    once = put_summary(text, "| new |", markers)
    assert once == "before\n{}\n| new |\n{}\nafter\n".format(*markers)
    assert put_summary(once, "| new |", markers) == once
    for broken in ("no markers", "{1} {0}".format(*markers), text + markers[0]):
        with pytest.raises(ValueError, match="the page must hold"):
            put_summary(broken, "", markers)


def test_no_page_is_written_where_one_lacks_its_markers(claims, tmp_path):
    rows = make_run("ten", (0.7, 0.6, 0.8))
    claims(rows)
    save_table(rows, tmp_path / "mine" / "attacks.csv")
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "attacks.md").write_text("{}\n{}\n".format(*ATTACKS_MARKERS))
    (tmp_path / "README.md").write_text("{}\n{}\n".format(*RESULTS_MARKERS))
    (tmp_path / "docs" / "results.md").write_text(f"{CLAIMS_MARKERS[0]}\n")
    files = {"mine": tmp_path / "mine" / "claims.csv"}
    with pytest.raises(ValueError, match="docs/results.md: the page must hold"):
        write_tables(files, tmp_path, RULES)
    assert (tmp_path / "README.md").read_text() == "{}\n{}\n".format(*RESULTS_MARKERS)
    (tmp_path / "docs" / "results.md").write_text("{}\n{}\n".format(*CLAIMS_MARKERS))
    write_tables(files, tmp_path, RULES)
    assert "| question |" in (tmp_path / "README.md").read_text()
    assert "| `nearest` |" in (tmp_path / "docs" / "attacks.md").read_text()
    assert "| claim | study |" in (tmp_path / "docs" / "results.md").read_text()


def test_a_headline_moved_if_it_left_the_committed_interval():
    committed = pd.concat([
        make_run("in", (0.7, 0.6, 0.8)), make_run("out", (0.7, 0.6, 0.8)), make_run("few", (0.7, np.nan, np.nan)),
        make_run("old", (0.7, 0.6, 0.8)),
    ])  # fmt: skip
    fresh = pd.concat([make_run(name, (0.65 if name == "in" else 0.85, 0.6, 0.9)) for name in ("in", "out", "few", "late")])
    table = compare_headlines(committed, fresh, RULES).set_index("run")
    assert table.moved.to_dict() == {"in": "within", "out": "moved", "few": "no interval", "old": "gone", "late": "new"}


def test_the_check_prints_a_line_a_run_and_ends_with_a_status(root, tmp_path, monkeypatch, capsys):
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
    save_table(make_run("other", (0.7, 0.6, 0.8)), file)
    status, said = check()
    assert status == 1 and said.startswith("gone"), "a run that is not there has not passed"
    said = check("nothing")[0]
    assert said == "results/nothing/attacks.csv is not committed: there is nothing to compare with, as there is for ['embedded']"


def test_a_toy_is_left_out_of_the_published_tables(tmp_path):
    """Before, a quick trial of a folder changed the README: its settings were counted, and all p-values corrected for its own."""
    for study, text in {"mine": "study: mine\n", "quick": "study: quick\ntoy: true\n"}.items():
        (tmp_path / study).mkdir()
        (tmp_path / study / "params.yaml").write_text(text)
    files = {study: tmp_path / study / "claims.csv" for study in ("mine", "quick", "without-params")}
    assert list(leave_out_toys(files)) == ["mine", "without-params"]
