"""Every public function draws from somebody's own notebook, too: without the style sheet, without a layout, from any folder."""

import importlib
import inspect
import pkgutil
import warnings

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import torch
from synthetic_rows import judge, make_difference, make_experiment, make_run

import ppe.plots
from ppe.datasets.photos import Photo
from ppe.overrepresentation.data_share import summarise_measures
from ppe.overrepresentation.latin_square import plan_data_shares

matplotlib.use("agg")
FACES = np.zeros((4, 3, 8, 8), np.uint8)
ROW = {
    "attack": "nearest", "calibration": "", "embedder": "net", "membership": "identity_membership", "control": "none",
    "member_group": "pooled", "value": 0.8, "low": 0.7, "high": 0.9, "level": "photo", "aggregate": "", "p_value": 0.03,
    "num_members": 9, "generator": "fastgan", "num_identities": 10, "seed": 1, "size": 10, "kimg": 1.0, "metric": "auc",
    "versus": "",
}  # fmt: skip
ROWS = pd.DataFrame([ROW, ROW | {"low": np.nan, "high": np.nan, "size": 20, "num_identities": 40}])
QUERIES = pd.DataFrame({"member_group": ["a", "b"] * 4, "is_member": [True, True, False, False] * 2, "score": np.arange(8.0)})
PEAKS = pd.DataFrame({"group": list("aab"), "score": [90.0, 5, 30], "data_share": [0.1, np.nan, np.nan],
                      "is_alarm": [True, False, True], "is_true": [True, False, False]})  # fmt: skip
ALARMS = pd.DataFrame({"statistic": "generator", "group": list("ab"), "value": [0.0, 2.0], "embedder": "net",
                       "calibration": "cohort"})  # fmt: skip
PLAN = plan_data_shares(kind="many", num_overrepresented=3, num_rotations=3, data_shares=[0.0, 0.05, 0.1], num_photos=100)
VALUES = PLAN.assign(identity=PLAN.target.astype(str), value=PLAN.data_share, embedder="net", calibration="")
VALUES = VALUES.assign(measure="match_share")
PAIRS = pd.DataFrame({"embedder": "net", "resolution": 32, "score": np.linspace(-1, 1, 20), "is_same": [False, True] * 10})
CURVE = pd.DataFrame({"embedder": "net", "resolution": 32, "auc": 0.9, "fpr": [0.0, 0.1, 1], "tpr": [0.0, 0.8, 1]})
ROCS = pd.DataFrame({"run": "ten", "control": "none", "member_group": "a", "fpr": [0.0, 0.1, 1], "tpr": [0.0, 0.8, 1]})
DISTANCES = pd.DataFrame({"parameter_distance": np.linspace(0, 1, 30), "embedding_distance": np.linspace(0, 1, 30)})
LOSSES = pd.DataFrame({"group": list("abc"), "images": 1000, "loss_generator": 1.0, "loss_discriminator": 1.0, "loss_redraw": 0.1,
                       "p": 0.0})  # fmt: skip
RUNS = pd.concat([make_run("ten", (0.7, 0.6, 0.8)), make_run("forty", (0.5, 0.4, 0.6), num_identities=40)])
CLAIMS = judge(RUNS, make_difference(RUNS, "ten", "forty", "equal kimg"), experiments=make_experiment())
SWEEPS = pd.DataFrame({"sweep": "equal kimg", "line": "lfw", "x": [10, 40], "value": [0.7, 0.6], "low": [0.6, 0.5],
                       "high": [0.8, 0.7]})  # fmt: skip
BASELINES = pd.DataFrame([ROW | {"attack": name} for name in ("nearest", "pixel", "surroundings")])
PLANTED = pd.DataFrame({"share": [0.01, 0.1], "power": [0.5, 1.0], "low": [0.3, 0.8], "high": [0.7, 1.0], "alone": [0.6, 1.0]})
TRADEOFF = pd.DataFrame({"run": ["ten", "ten-cap"], "generator": "fastgan", "defence": ["none", "cap-2"], "kimg": 20,
                         "auc": [0.8, 0.6], "auc_low": [0.7, 0.5], "auc_high": [0.9, 0.7], "kernel_distance": 0.05,
                         "detected_share": [0.9, np.nan], "change": [np.nan, -0.2], "change_low": np.nan,
                         "change_high": np.nan})  # fmt: skip
CALLS = {
    "audit.plot_people": (QUERIES.assign(identity=list("abcdefgh")), ["a"]),
    "audit.plot_power": (PLANTED, 0.8),
    "audit.plot_roc": (ROCS, 10),
    "appearance.plot_parts": ({"whole face": FACES, "the rest": FACES}, "title"),
    "appearance.plot_baselines": (BASELINES, "title"),
    "appearance.show_appearance": ("pixel", 0.1, np.nan, np.nan, False),
    "attacks.plot_scores": (QUERIES, "title"),
    "attacks.plot_nearest": (FACES[0], FACES[1:], [0.9, 0.8, 0.7], "title"),
    "attacks.plot_triples": (FACES, FACES, FACES, [0.9] * 4, "title"),
    "attacks.plot_intervals": (ROWS, ["one", "two"], "title"),
    "attacks.plot_controls": (ROWS, "title"),
    "attacks.plot_memberships": (ROWS, "title"),
    "attacks.plot_growth": (ROWS, "size", "faces", "title", True),
    "attacks.plot_training_curve": (ROWS, "title"),
    "attacks.plot_sizes": (pd.concat([ROWS, ROWS.assign(membership="image_membership")]),),
    "attacks.tabulate_auc": (ROWS,),
    "attacks.show_verdict": (False, 0.5, 0.01),
    "claims.plot_rocs": (ROCS, {"ten": 0.1}),
    "claims.plot_evidence": (CLAIMS, "title"),
    "claims.plot_sweeps": (SWEEPS,),
    "faces.plot_faces": (torch.from_numpy(FACES), list("abcd"), 2, "title", 1.0, ["one", "two"]),
    "faces.plot_landmarks": ([Photo(np.zeros((9, 9, 3), np.uint8)), Photo(None, "the file is empty")], np.ones((2, 5, 2))),
    "faces.plot_counts": (pd.DataFrame({"reason": ["", "no face found"]}), "reason", "title"),
    "faces.plot_detection": (pd.Series({"real": 1.0, "generated": 0.4}),),
    "models.plot_verification": (PAIRS, CURVE),
    "models.plot_truth": (DISTANCES,),
    "models.plot_losses": (LOSSES,),
    "tradeoff.plot_tradeoff": (TRADEOFF, "title"),
    "tradeoff.plot_training_paths": (TRADEOFF, "title"),
    "models.plot_curve": ({"net": [3.0, 2.0, 1.0]}, "step", "loss", "title"),
    "overrepresentation.plot_design": (PLAN.assign(share=PLAN.num_photos / 100),),
    "overrepresentation.plot_data_shares": (VALUES, summarise_measures(VALUES), "match_share", "title"),
    "overrepresentation.plot_peaks": (PEAKS, 20.0, "title"),
    "overrepresentation.plot_alarms": (ALARMS, "title"),
    "overrepresentation.plot_gallery": (FACES, np.stack([FACES] * 4), [0.0, 0.05, 0.1, 0.2], "title"),
    "pipeline.plot_pipeline": ("attack",),
    "pipeline.plot_groups": (10, 5, 5),
    "style.tabulate_params": ({"seed": 1},),
}
"""Function -> its arguments: small, and of every kind that its docstring names."""
BY_PATH = {"style.use_style", "style.save_figure", "audit.write_svg"}
"""Functions that read or write a file, or turn a figure into one."""


@pytest.fixture
def _fresh(tmp_path, monkeypatch):
    """matplotlib as it is after its import, in a folder that holds nothing."""
    monkeypatch.chdir(tmp_path)
    with matplotlib.rc_context():
        plt.rcdefaults()
        yield
    plt.close("all")


def test_every_public_function_is_called():
    public = set()
    for module in pkgutil.iter_modules(ppe.plots.__path__):
        own = importlib.import_module(f"ppe.plots.{module.name}")
        found = inspect.getmembers(own, inspect.isfunction)
        public |= {f"{module.name}.{name}" for name, f in found if f.__module__ == own.__name__ and name[0] != "_"}
    assert public == set(CALLS) | BY_PATH


@pytest.mark.usefixtures("_fresh")
@pytest.mark.parametrize("layout", ["none", "tight"])
@pytest.mark.parametrize("name", CALLS)
def test_a_figure_needs_no_style_sheet(name, layout, tmp_path):
    module, function = name.split(".")
    plt.rcParams["figure.autolayout"] = layout == "tight"  # somebody's own habit
    before = dict(plt.rcParams)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        made = getattr(importlib.import_module(f"ppe.plots.{module}"), function)(*CALLS[name])
        if isinstance(made, plt.Figure):
            made.savefig(tmp_path / "figure.png")
            assert measure_lost(made) < 0.05
    assert dict(plt.rcParams) == before, "somebody's own settings stay"


def measure_lost(figure):
    """By how many inches what is drawn reaches beyond the figure: a legend beside it, or the names of rows."""
    drawn, (width, height) = figure.get_tightbbox(figure.canvas.get_renderer()), figure.get_size_inches()
    return max(-drawn.x0, -drawn.y0, drawn.x1 - width, drawn.y1 - height)
