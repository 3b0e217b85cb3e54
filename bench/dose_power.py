"""How often would C4's test find a leak of a given size? ``python bench/dose_power.py`` (about two minutes on one core).

Values without a leak are drawn from the committed rows of LFW's crowds in which nobody stands out; the leak, in the mean this
share of the generated faces and exponentially distributed over people, is added at the largest dose.
"""

import argparse

import numpy as np
import pandas as pd

from ppe.config import find_root, load_table
from ppe.overrepresentation.placebo_test import compare_with_controls

DOSES = [0.0, 0.003, 0.01, 0.03, 0.1]
NUM_NULL = 24


def find_leak(cells, num_identities, leak, random, seed):
    """p-value of one simulated Latin square."""
    plan = [(f"p{i}", f"r{r}", DOSES[(i + r) % len(DOSES)]) for i in range(num_identities) for r in range(len(DOSES))]
    values = pd.DataFrame(plan, columns=["identity", "group", "data_share"])
    values["value"] = random.choice(cells, len(values)) + leak * random.exponential(size=len(values)) * (values.data_share == DOSES[-1])
    null = pd.MultiIndex.from_product([range(NUM_NULL), sorted(values.group.unique())], names=["identity", "group"])
    null = null.to_frame(index=False).assign(value=random.choice(cells, len(null)))
    table = compare_with_controls(values, null, num_draws=499, seed=seed)
    return table[table.statistic == "contrast"].p_value.iloc[0]


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--simulations", type=int, default=200)
    parser.add_argument("--judged-p", type=float, default=0.01)
    options = parser.parse_args()
    rows = load_table(find_root() / "results" / "lfw-dose-cpu" / "rows" / "data_shares" / "none.csv")
    own = rows[(rows.measure == "match_share") & (rows.statistic == "person") & (rows.embedder == "mobilefacenet-casia")]
    cells = own.value.to_numpy()
    print(f"{len(cells)} values without a leak: mean {cells.mean():.2%}, largest {cells.max():.2%}")
    for num_identities in (5, 10):
        for leak in (0.0, 0.003, 0.005, 0.01, 0.02):
            random = np.random.default_rng(1)
            found = [find_leak(cells, num_identities, leak, random, seed) < options.control_p for seed in range(options.simulations)]
            print(f"{num_identities} people, a leak of {leak:.1%} of the faces: found in {np.mean(found):.0%}")


if __name__ == "__main__":
    main()
