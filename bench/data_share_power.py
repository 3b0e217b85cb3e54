"""How often would the tests of C4 find a leak of a given size? ``python bench/data_share_power.py``.

Values without a leak are drawn from the committed rows of a baseline experiment, in which no identity is over-represented. The
leak is added at the largest data share. Its mean is a given share of the generated faces, and it is exponentially distributed
over identities. ``easier`` multiplies the targets' values without a leak: they are then easier to match than control identities,
which the placebo test assumes away.
"""

import argparse

import numpy as np
import pandas as pd

from ppe.config import find_root, load_params, load_table
from ppe.overrepresentation.data_share import KEYS, summarise_data_shares
from ppe.overrepresentation.designs import compare_designs
from ppe.overrepresentation.latin_square import plan_data_shares
from ppe.overrepresentation.placebo_test import compare_with_controls

DATA_SHARES = {"square": [0.0, 0.003, 0.01, 0.03, 0.1], "single": [0.0, 0.01, 0.03, 0.1]}
NUM_CONTROLS, NUM_PHOTOS, LEAKS = 24, 10000, (0.0, 0.003, 0.005, 0.01, 0.02)
STUDY, EMBEDDER = "lfw-overrepresentation-cpu", "mobilefacenet-casia"


def lay_out(design, num_identities):
    """The plan of an experiment: identity, group, data_share."""
    levels = DATA_SHARES[design]
    rotations = len(levels) if design == "square" else num_identities * (len(levels) - 1)
    sizes = {"num_overrepresented": num_identities, "num_rotations": rotations, "num_photos": NUM_PHOTOS}
    plan = plan_data_shares(kind="many", design=design, data_shares=levels, **sizes)
    return plan.assign(identity="p" + plan.target.astype(str).str.zfill(2))


def find_leak(cells, plan, leak, easier, random, seed):
    """p-values of one simulated experiment: of the placebo test, and of the test that needs no control identity.

    cells : ndarray, values without a leak; plan : of ``lay_out``; leak : float, mean share of the generated faces.
    """
    values = plan.assign(value=easier * random.choice(cells, len(plan)))
    values["value"] += leak * random.exponential(size=len(values)) * (values.data_share == values.data_share.max())
    controls = pd.MultiIndex.from_product([range(NUM_CONTROLS), sorted(plan.group.unique())], names=["identity", "group"])
    controls = controls.to_frame(index=False).assign(value=random.choice(cells, len(controls)))
    table = compare_with_controls(values, controls, num_draws=499, seed=seed)
    own = summarise_data_shares(values, num_resamples=0, num_permutations=499, seed=seed)
    return table.p_value[table.statistic == "contrast"].iloc[0], own.p_value[own.statistic == "mean"].iloc[-1]


def cover_difference(cells, num_identities, leak, random):
    """Whether the interval of the difference of two designs includes 0, the truth, at the largest data share.

    An identity leaks as much in both designs, but for a factor of each training (log-normal, of standard deviation 0.5).
    """
    own = leak * random.exponential(size=num_identities)
    parts = []
    for design in DATA_SHARES:
        plan = lay_out(design, num_identities)
        factor = random.lognormal(-0.125, 0.5, len(plan)) * (plan.data_share == plan.data_share.max())
        value = random.choice(cells, len(plan)) + factor * own[plan.target]
        parts.append(plan.assign(value=value, pseudonym=plan.identity, experiment=design, design=design))
    rows = pd.concat(parts).assign(baseline="none", kind="many", statistic="identity", **dict.fromkeys(KEYS, ""))
    rows = rows.assign(low=np.nan, high=np.nan)
    return compare_designs(rows).agrees.iloc[-1]


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--simulations", type=int, default=200)
    parser.add_argument("--control-p", type=float, help="supported below this p; without it, verdicts.control_p of params.yaml")
    parser.add_argument("--study", default=STUDY, help="whose baseline experiment gives the values without a leak")
    parser.add_argument("--embedder", default=EMBEDDER)
    options = parser.parse_args()
    control_p = options.control_p or load_params().verdicts.control_p
    rows = load_table(find_root() / "results" / options.study / "rows" / "experiments" / "none.csv")
    own = rows[(rows.measure == "match_share") & (rows.statistic == "identity") & (rows.embedder == options.embedder)]
    cells = own.value.to_numpy()
    print(f"{len(cells)} values without a leak: mean {cells.mean():.2%}, largest {cells.max():.2%}")
    print("design, targets, leak at the largest data share, times as easy to match: "
          f"found by the placebo test with p < {control_p} (p < 0.05); without control identities, the same")  # fmt: skip
    for design, num_identities in (("square", 5), ("square", 10), ("single", 5), ("single", 10)):
        plan = lay_out(design, num_identities)
        for leak, easier in [(leak, 1) for leak in LEAKS] + [(0.0, 3)]:
            random = np.random.default_rng(1)
            p = np.array([find_leak(cells, plan, leak, easier, random, seed) for seed in range(options.simulations)])
            found = [f"{(p[:, test] < control_p).mean():.1%} ({(p[:, test] < 0.05).mean():.1%})" for test in (0, 1)]
            print(f"{design}, {num_identities}, {leak:.1%}, {easier}: {'; '.join(found)}", flush=True)
    for num_identities in (5, 10):
        random = np.random.default_rng(2)
        covered = np.mean([cover_difference(cells, num_identities, 0.02, random) for _ in range(options.simulations)])
        print(f"{num_identities} targets that leak alike in both designs: the difference's interval includes 0 in {covered:.1%}")


if __name__ == "__main__":
    main()
