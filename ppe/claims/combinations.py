"""Claim 3, that the leak holds on every data set and with every generator: C1 summed up over them."""

import numpy as np
import pandas as pd

from ppe.claims.evidence import EXPLORATORY, describe_claim


def choose_cells(leaks, most=False):
    """Choose C1's row of each data set, generator and resolution on which C3 is judged, or the one with the most identities.

    leaks : DataFrame, the claims of one study or of several. Returns its rows, one a cell.
    """
    judged = leaks[(leaks.claim == "C1") & (leaks.verdict != "shown")]
    order = pd.DataFrame({
        "few": judged.low.isna(), "identities": judged.identities.astype(int) * (-1 if most else 1),
        "photos": -judged.photos.astype(int), "kimg": -judged.kimg.astype(float), "seeds": -judged.runs.str.split().str.len(),
    })  # fmt: skip
    judged = judged.loc[order.sort_values(list(order), kind="stable").index]
    return judged.drop_duplicates(["dataset", "generator", "resolution"]).sort_values(["dataset", "generator", "resolution"])


def judge_cells(leaks):
    """Judge C3 over the settings of C1, of one study or of several: a table of one row.

    Settings without an interval, below ten identities, are named and not counted: they can show a leak, and not that it is one of
    identity (``ppe.evaluation.appearance.judge_appearance``).
    """
    listed = choose_cells(leaks)
    cells = listed[listed.low.notna()]
    names = listed.dataset + " " + listed.generator + " " + listed.resolution.astype(str) + " px"
    left_out, names = names[listed.low.isna()], names[listed.low.notna()]
    names += cells.reason.str.contains(EXPLORATORY, regex=False).map({True: " (exploratory)", False: ""})
    reasons = [f"{verdict}: {', '.join(part)}" for verdict, part in names.groupby(cells.verdict)]
    if len(left_out):
        reasons.append(f"not counted, with too few identities for an interval: {', '.join(left_out)}")
    found = cells.verdict.tolist()
    num_datasets, num_generators = cells.dataset.nunique(), cells.generator.nunique()
    if min(num_datasets, num_generators) < 2:
        verdict = "not measured"
        reasons.append(f"data sets: {num_datasets}, generators: {num_generators}, and two of each are needed")
    else:
        verdict = "supported" if set(found) == {"supported"} else "not supported" if "not supported" in found else "inconclusive"
    share = found.count("supported") / len(cells) if len(cells) else np.nan
    change = "another data set, generator or resolution: a line in params.yaml, runs"
    found = {"measure": f"share of {len(cells)} combinations that support C1", "value": share, "runs": " ".join(cells.runs)}
    end = {"verdict": verdict, "reason": "; ".join(reasons), "what_would_change": change}
    return pd.DataFrame([describe_claim("C3", **found, **end)])
