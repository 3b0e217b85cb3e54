"""How often would the placebo test of C4 find a leak of a given size? ``python bench/data_share_power.py``.

Values without a leak are drawn from the committed rows of LFW's baseline experiment, in which no identity is over-represented.
The leak is added at the largest data share. Its mean is a given share of the generated faces, and it is exponentially
distributed over identities.
"""

import argparse

import numpy as np
import pandas as pd

from ppe.config import find_root, load_params, load_table
from ppe.overrepresentation.placebo_test import compare_with_controls

DATA_SHARES = [0.0, 0.003, 0.01, 0.03, 0.1]
NUM_CONTROLS = 24
STUDY, EMBEDDER = "lfw-overrepresentation-cpu", "mobilefacenet-casia"


def find_leak(cells, num_identities, leak, random, seed):
    """p-value of one simulated experiment.

    cells : ndarray, values without a leak; num_identities : int, targets; leak : float, mean share of the generated faces.
    """
    count = len(DATA_SHARES)
    plan = [(f"p{i}", f"r{r}", DATA_SHARES[(i + r) % count]) for i in range(num_identities) for r in range(count)]
    values = pd.DataFrame(plan, columns=["identity", "group", "data_share"])
    values["value"] = random.choice(cells, len(values))
    values["value"] += leak * random.exponential(size=len(values)) * (values.data_share == DATA_SHARES[-1])
    controls = pd.MultiIndex.from_product([range(NUM_CONTROLS), sorted(values.group.unique())], names=["identity", "group"])
    controls = controls.to_frame(index=False).assign(value=random.choice(cells, NUM_CONTROLS * count))
    table = compare_with_controls(values, controls, num_draws=499, seed=seed)
    return table[table.statistic == "contrast"].p_value.iloc[0]


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--simulations", type=int, default=200)
    parser.add_argument("--control-p", type=float, help="supported below this p; without it, verdicts.control_p of params.yaml")
    options = parser.parse_args()
    control_p = options.control_p or load_params().verdicts.control_p
    rows = load_table(find_root() / "results" / STUDY / "rows" / "experiments" / "none.csv")
    own = rows[(rows.measure == "match_share") & (rows.statistic == "identity") & (rows.embedder == EMBEDDER)]
    cells = own.value.to_numpy()
    print(f"{len(cells)} values without a leak: mean {cells.mean():.2%}, largest {cells.max():.2%}")
    for num_identities in (5, 10):
        for leak in (0.0, 0.003, 0.005, 0.01, 0.02):
            random = np.random.default_rng(1)
            found = [find_leak(cells, num_identities, leak, random, seed) < control_p for seed in range(options.simulations)]
            print(f"{num_identities} targets, a leak of {leak:.1%} of the faces: found in {np.mean(found):.0%}")


if __name__ == "__main__":
    main()
