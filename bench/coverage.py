"""Does the 95 % interval hold the truth 95 times in 100? And is two thousand resamples' work done in two seconds?

    python bench/coverage.py                    # 2,000 simulated attacks for each size; some twenty minutes on two cores
    python bench/coverage.py --simulations 200 --what tpr share

A simulated attack: two GANs, n people a side, ten photos each. A person's scores share a normal effect, in part the same
under both GANs; members score higher by a shift, which gives every truth in closed form. For each, is it within the interval?

- ``auc``: ``bootstrap_identities``; the plain percentile interval of the same resamples stands beside it.
- ``tpr``: the same for the TPR at an FPR of 10 %.
- ``attacks``: ``compare_attacks`` of the attack with one whose scores carry more noise, on the same queries.
- ``sizes``: ``compare_runs`` of two runs on different people, of n and of 2 n a side, at AUC x and 0.5.
- ``share``: ``compare_ceiling`` with a ceiling of AUC 0.97 on the same queries.
"""

import argparse
import time

import numpy as np
import pandas as pd
from scipy.stats import norm

from ppe.statistics.intervals import bootstrap_identities, compare_attacks, compare_ceiling, compare_runs
from ppe.statistics.resampling import resample_identities

PHOTOS, BETWEEN, SHARED = 10, 1.0, 0.5  # photos a person; spread of people over that of photos; its part under both GANs
NOISE = 1.0  # what the other attack's scores carry beside those of the first
AUCS, CEILING, FPR = (0.5, 0.7, 0.9), 0.97, 0.1
SPREAD = np.sqrt(BETWEEN**2 + 1)  # of one photo's score


def simulate(num_identities, auc, rng):
    """Queries of both halves, n people of group a and n of b, and the members' shift."""
    people, shift = 2 * num_identities, find_shift(auc)
    group = np.repeat(["a", "b"], num_identities)
    shared = np.sqrt(SHARED) * rng.normal(size=people)
    parts = []
    for member_group in "ab":
        person = BETWEEN * (shared + np.sqrt(1 - SHARED) * rng.normal(size=people)) + shift * (group == member_group)
        score = np.repeat(person, PHOTOS) + rng.normal(size=people * PHOTOS)
        table = {"member_group": member_group, "identity": np.repeat(np.arange(people), PHOTOS), "is_member": np.repeat(group == member_group, PHOTOS)}
        parts.append(pd.DataFrame({**table, "score": score}))
    return pd.concat(parts, ignore_index=True)


def find_shift(auc, spread=SPREAD):
    """A member's score minus a non-member's is normal, with the root of two times ``spread``: AUC = Phi(shift / that)."""
    return norm.ppf(auc) * np.sqrt(2) * spread


def add_noise(queries, rng, shift=0.0):
    """The same queries under another attack: members ``shift`` higher, all with noise of their own."""
    return queries.assign(score=queries.score + shift * queries.is_member + NOISE * rng.normal(size=len(queries)))


def ask(what, num_identities, auc, rng, settings):
    """One simulated attack: the row with the interval, and the truth."""
    queries = simulate(num_identities, auc, rng)
    noisy = np.hypot(SPREAD, NOISE)
    if what == "auc":
        return bootstrap_identities(queries, **settings), auc
    if what == "tpr":
        truth = norm.sf(norm.isf(FPR) - find_shift(auc) / SPREAD)
        return bootstrap_identities(queries, "tpr_at_fpr_1e-1", **settings), truth
    if what == "attacks":
        truth = auc - norm.cdf(find_shift(auc) / (np.sqrt(2) * noisy))
        return compare_attacks(queries, add_noise(queries, rng), **settings), truth
    if what == "sizes":
        return compare_runs(queries, simulate(2 * num_identities, 0.5, rng), **settings), auc - 0.5
    ceiling = add_noise(queries, rng, find_shift(CEILING, noisy) - find_shift(auc))
    return compare_ceiling(queries, ceiling, **settings), (auc - 0.5) / (CEILING - 0.5)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--simulations", type=int, default=2000)
    parser.add_argument("--resamples", type=int, default=400)
    parser.add_argument("--people", type=int, nargs="+", default=[10, 20, 40, 100])
    parser.add_argument("--what", nargs="+", default=["auc", "tpr", "attacks", "sizes", "share"])
    options = parser.parse_args()
    queries = simulate(100, 0.7, np.random.default_rng(0))
    started = time.perf_counter()
    resample_identities(queries, num_resamples=2000)
    print(f"2,000 resamples of 100 + 100 people x {PHOTOS} photos under two GANs: {time.perf_counter() - started:.2f} s")
    for what in options.what:
        for num_identities in options.people:
            for auc in AUCS:
                rng, held, plain, values, truth = np.random.default_rng([num_identities, round(100 * auc)]), 0, 0, [], 0.0
                for number in range(options.simulations):
                    settings = {"num_resamples": options.resamples, "seed": number}
                    state = rng.bit_generator.state
                    row, truth = ask(what, num_identities, auc, rng, settings)
                    held += row["low"] <= truth <= row["high"]
                    values.append(row["value"])
                    if what == "auc":
                        rng.bit_generator.state = state
                        _, samples = resample_identities(simulate(num_identities, auc, rng), **settings)
                        low, high = np.quantile(samples, [0.025, 0.975])
                        plain += low <= auc <= high
                count = options.simulations
                beside = f", the percentile interval {plain / count:.3f}" if what == "auc" else ""
                print(f"{what}: {num_identities:3d} people a side, AUC {auc}, truth {truth:.3f}, mean {np.mean(values):.3f}: "
                      f"covers {held / count:.3f}{beside}", flush=True)


if __name__ == "__main__":
    main()
