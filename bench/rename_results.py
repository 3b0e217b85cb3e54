"""Results of version 0.1 under the names of today: rename the columns and values of committed rows, or compare two results.

``python bench/rename_results.py rename results/lfw-cpu``: rewrites a study's rows and scores in place, splits off rows of the
sensitivity analysis, drops what is no longer measured, and lists the runs in ``earlier.json``, so that `make study` makes them
anew. Numbers are kept as the text that they are.

``python bench/rename_results.py compare OLD NEW``: compares two results folders number by number, as text; OLD has the old names.
"""

import argparse
import json
import shutil
from pathlib import Path

import pandas as pd

COLUMNS = {
    "half": "member_group", "gan": "generator", "reference": "calibration", "square": "experiment", "crowds": "baseline",
    "dose": "data_share", "person": "pseudonym", "num_people": "num_identities", "num_null": "num_controls",
    "num_gans": "num_generators",
}  # fmt: skip
ATTACKS = {
    "identity": "nearest", "identity_top_k": "nearest_top_k", "identity_density": "density",
    "identity_calibrated": "nearest_calibrated", "top_k_calibrated": "nearest_top_k_calibrated",
}  # fmt: skip
CONTROLS = {
    "disjoint": "negative_control", "copy_machine": "memorisation_ceiling", "identity_twin": "held_out_ceiling",
}  # fmt: skip
EMBEDDERS = {"drawn-arcface": "synthetic-arcface", "drawn-triplet": "synthetic-triplet"}
VALUES = {
    "attack": ATTACKS, "control": CONTROLS, "embedder": EMBEDDERS, "level": {"person": "identity"},
    "membership": {"identity": "identity_membership", "image": "image_membership", "photo_given_person": "photo_given_identity"},
    "versus": ATTACKS | CONTROLS | EMBEDDERS,
    "metric": {"kappa": "concentration", "verdict_kappa": "cohen_kappa", "effective_people": "effective_identities"},
    "measure": {**ATTACKS, "discovered": "detected"},
    "statistic": {"person": "identity", "null": "control", "gan": "generator"},
}  # fmt: skip
CALIBRATIONS = {"gan": "reference_generator", "real": "cohort"}
SCANS = {"gan": "generators", "real": "cohort"}
SENSITIVE = "photos held|generated faces|kimg: |own_similarity|without the nearest|attribute_|train_photos"
MIN_SLICE = 4


def read(path):
    return pd.read_csv(path, dtype=str, keep_default_na=False)


def rename(table, calibrations):
    """A table under the names of today; every cell stays text."""
    if "generator" in table:  # of scores: the set of faces, before the runs' GAN takes that name
        table = table.rename(columns={"generator": "face_set"})
    table = table.rename(columns=COLUMNS)
    for column, values in {**VALUES, "calibration": calibrations}.items():
        if column in table:
            table[column] = table[column].replace(values)
    if "metric" in table:
        few = table[["num_members", "num_non_members"]].replace("", "0").astype(float).min(axis=1) < MIN_SLICE
        sliced = table.slice.str.match("attribute_|train_photos")
        table = table[(table.metric != "permuted_misses") & (table["aggregate"] != "majority") & ~(sliced & few)]
    return table


def is_sensitivity(table):
    return table.slice.str.match(SENSITIVE) | (table.metric == "fid")


def rename_study(folder):
    runs = sorted((folder / "rows").glob("*.csv"))
    for file in runs:
        rows = rename(read(file), CALIBRATIONS)
        (folder / "rows" / "sensitivity").mkdir(exist_ok=True)
        rows[is_sensitivity(rows)].to_csv(folder / "rows" / "sensitivity" / file.name, index=False, lineterminator="\n")
        rows[~is_sensitivity(rows)].to_csv(file, index=False, lineterminator="\n")
        scores = folder / "scores" / file.name
        if scores.exists():
            rename(read(scores), CALIBRATIONS).to_csv(scores, index=False, lineterminator="\n")
    experiments = sorted((folder / "rows" / "doses").glob("*.csv"))
    for file in experiments:
        (folder / "rows" / "experiments").mkdir(exist_ok=True)
        rename(read(file), SCANS).to_csv(folder / "rows" / "experiments" / file.name, index=False, lineterminator="\n")
    shutil.rmtree(folder / "rows" / "doses", ignore_errors=True)
    shutil.rmtree(folder / "figures", ignore_errors=True)
    made_anew = ("attacks.csv", "doses.csv", "claims.csv", "cost.csv", "metrics.json", "headline.csv", "roc.csv")
    for name in (*made_anew, "dvc.lock", "params.yaml"):
        (folder / name).unlink(missing_ok=True)
    names = [file.stem for file in (*runs, *experiments)]
    (folder / "earlier.json").write_text(json.dumps(names, indent=2) + "\n")
    print(f"{folder}: {len(runs)} runs and {len(experiments)} experiments renamed")


def compare(old, new):
    """Print which numbers differ, and which rows only one side has."""
    pairs = [("attacks.csv", "attacks.csv", CALIBRATIONS), ("doses.csv", "overrepresentation.csv", SCANS)]
    for before, after, calibrations in pairs:
        first, second = rename(read(old / before), calibrations), read(new / after)
        if not len(first) and not len(second):
            continue
        wanted = ("value", "low", "high", "p_value", "num_members", "num_non_members", "embedder_auc")
        numbers = [name for name in wanted if name in first]
        keys = [name for name in first if name not in numbers]
        joined = first.merge(second, on=keys, how="outer", indicator=True, suffixes=("_old", "_new"))
        both = joined[joined._merge == "both"]
        print(f"{after}: {len(first)} rows before, {len(second)} now, {len(both)} of one key")
        for name in numbers:
            differ = both[both[f"{name}_old"] != both[f"{name}_new"]]
            print(f"  {name}: {len(differ)} of {len(both)} differ")
            for row in differ.head(20).to_dict("records"):
                names = ("run", "embedder", "attack", "metric", "versus", "slice")
                label = " ".join(str(row[key]) for key in names if key in row)
                print(f"    {label}: {row[f'{name}_old']} -> {row[f'{name}_new']}")
        for side, words in (("left_only", "only before"), ("right_only", "only now")):
            for row in joined[joined._merge == side].head(10).to_dict("records"):
                print(f"  {words}: {' '.join(str(row[key]) for key in keys if row[key])}")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("command", choices=["rename", "compare"])
    parser.add_argument("folders", nargs="+", type=Path)
    options = parser.parse_args()
    if options.command == "rename":
        for folder in options.folders:
            rename_study(folder)
    else:
        compare(*options.folders)


if __name__ == "__main__":
    main()
