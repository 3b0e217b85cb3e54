"""Does the 95 % interval hold the truth 95 times in 100? And is two thousand resamples' work done in two seconds?

    python bench/coverage.py                    # 2,000 simulated attacks for each size; about ten minutes on two cores
    python bench/coverage.py --simulations 200

A simulated attack: two GANs, n people a side, ten photos each. A person's scores share a normal effect, in part the same
under both GANs; members score higher by a shift, which gives the true AUC in closed form. For each, is the truth within the
interval of ``ppe.intervals.bootstrap_people``? The plain percentile interval of the same resamples stands beside it.
"""

import argparse
import time

import numpy as np
import pandas as pd
from scipy.stats import norm

from ppe.intervals import bootstrap_people
from ppe.resampling import resample_people

PHOTOS, BETWEEN, SHARED = 10, 1.0, 0.5  # photos a person; spread of people over that of photos; its part under both GANs
AUCS = (0.5, 0.7, 0.9)


def simulate(num_people, shift, rng):
    """Queries of both halves, n people of group a and n of b."""
    people = 2 * num_people
    group = np.repeat(["a", "b"], num_people)
    shared = np.sqrt(SHARED) * rng.normal(size=people)
    parts = []
    for half in "ab":
        person = BETWEEN * (shared + np.sqrt(1 - SHARED) * rng.normal(size=people)) + shift * (group == half)
        score = np.repeat(person, PHOTOS) + rng.normal(size=people * PHOTOS)
        table = {"half": half, "identity": np.repeat(np.arange(people), PHOTOS), "is_member": np.repeat(group == half, PHOTOS)}
        parts.append(pd.DataFrame({**table, "score": score}))
    return pd.concat(parts, ignore_index=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--simulations", type=int, default=2000)
    parser.add_argument("--resamples", type=int, default=400)
    parser.add_argument("--people", type=int, nargs="+", default=[10, 20, 40, 100])
    options = parser.parse_args()
    queries = simulate(100, 1.0, np.random.default_rng(0))
    started = time.perf_counter()
    resample_people(queries, num_resamples=2000)
    print(f"2,000 resamples of 100 + 100 people x {PHOTOS} photos under two GANs: {time.perf_counter() - started:.2f} s")
    for num_people in options.people:
        for auc in AUCS:
            # A member's score minus a non-member's is normal with this variance: AUC = Phi(shift / its root).
            shift = norm.ppf(auc) * np.sqrt(2 * (BETWEEN**2 + 1))
            rng = np.random.default_rng([num_people, round(100 * auc)])
            held = plain = 0
            for number in range(options.simulations):
                queries = simulate(num_people, shift, rng)
                row = bootstrap_people(queries, num_resamples=options.resamples, seed=number)
                _, samples = resample_people(queries, num_resamples=options.resamples, seed=number)
                low, high = np.quantile(samples, [0.025, 0.975])
                held += row["low"] <= auc <= row["high"]
                plain += low <= auc <= high
            count = options.simulations
            shares = f"covers {held / count:.3f}, the percentile interval {plain / count:.3f}"
            print(f"{num_people:4d} people a side, AUC {auc}: {shares}", flush=True)


if __name__ == "__main__":
    main()
