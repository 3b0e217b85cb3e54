"""How often does a 95 % interval hold the truth, and how long do two thousand resamples take?

    python bench/coverage.py                    # 2,000 simulated attacks for each size: about twenty minutes on two cores
    python bench/coverage.py --simulations 200 --what tpr share

A simulated attack has two generators, n identities a group and ten photos of each. The scores of an identity share a normal
effect, part of which is the same under both generators. Members have scores higher by a shift, which gives every true value in
closed form. The benchmark counts how often the true value lies in the interval:

- ``auc``: ``bootstrap_identities``, compared with the plain percentile interval of the same resamples.
- ``tpr``: the same for the TPR at an FPR of 10 %.
- ``attacks``: ``compare_attacks`` of the attack and one with noisier scores, on the same queries.
- ``sizes``: ``compare_runs`` of two runs on different identities, n a group at the given AUC and 2 n a group at AUC 0.5.
- ``share``: ``compare_ceiling`` with a ceiling of AUC 0.97 on the same queries.
"""

import argparse
import time

import numpy as np
import pandas as pd
from scipy.stats import norm

from ppe.statistics.intervals import bootstrap_identities, compare_attacks, compare_ceiling, compare_runs
from ppe.statistics.resampling import resample_identities

PHOTOS = 10  # of each identity
BETWEEN, SHARED = 1.0, 0.5  # spread of identities over that of photos; the part of its variance shared by both generators
NOISE = 1.0  # standard deviation of the other attack's additional noise
AUCS, CEILING, FPR = (0.5, 0.7, 0.9), 0.97, 0.1
SPREAD = np.sqrt(BETWEEN**2 + 1)  # standard deviation of one photo's score


def simulate(num_identities, auc, rng):
    """Draw the queries of n identities of group A and n of group B under both generators."""
    total, shift = 2 * num_identities, find_shift(auc)
    group = np.repeat(["a", "b"], num_identities)
    shared = np.sqrt(SHARED) * rng.normal(size=total)
    parts = []
    for member_group in "ab":
        effect = BETWEEN * (shared + np.sqrt(1 - SHARED) * rng.normal(size=total)) + shift * (group == member_group)
        score = np.repeat(effect, PHOTOS) + rng.normal(size=total * PHOTOS)
        columns = {"identity": np.repeat(np.arange(total), PHOTOS), "is_member": np.repeat(group == member_group, PHOTOS)}
        parts.append(pd.DataFrame({"member_group": member_group, **columns, "score": score}))
    return pd.concat(parts, ignore_index=True)


def find_shift(auc, spread=SPREAD):
    """Find the members' shift: AUC = Phi(shift / (sqrt(2) * ``spread``)), since score differences are normal with that spread."""
    return norm.ppf(auc) * np.sqrt(2) * spread


def add_noise(queries, rng, shift=0.0):
    """Return the same queries under another attack: members ``shift`` higher, and independent noise for all photos."""
    return queries.assign(score=queries.score + shift * queries.is_member + NOISE * rng.normal(size=len(queries)))


def simulate_interval(what, num_identities, auc, rng, settings):
    """Simulate one attack: return the row with the interval, and the true value."""
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
    parser.add_argument("--identities", type=int, nargs="+", default=[10, 20, 40, 100])
    parser.add_argument("--what", nargs="+", default=["auc", "tpr", "attacks", "sizes", "share"])
    options = parser.parse_args()
    queries = simulate(100, 0.7, np.random.default_rng(0))
    started = time.perf_counter()
    resample_identities(queries, num_resamples=2000)
    seconds = time.perf_counter() - started
    print(f"2,000 resamples of 100 + 100 identities x {PHOTOS} photos under two generators: {seconds:.2f} s")
    for what in options.what:
        for num_identities in options.identities:
            for auc in AUCS:
                rng, held, plain, values, truth = np.random.default_rng([num_identities, round(100 * auc)]), 0, 0, [], 0.0
                for number in range(options.simulations):
                    settings = {"num_resamples": options.resamples, "seed": number}
                    state = rng.bit_generator.state
                    row, truth = simulate_interval(what, num_identities, auc, rng, settings)
                    held += row["low"] <= truth <= row["high"]
                    values.append(row["value"])
                    if what == "auc":
                        rng.bit_generator.state = state
                        _, samples = resample_identities(simulate(num_identities, auc, rng), **settings)
                        low, high = np.quantile(samples, [0.025, 0.975])
                        plain += low <= auc <= high
                count = options.simulations
                beside = f", the percentile interval {plain / count:.3f}" if what == "auc" else ""
                print(f"{what}: {num_identities:3d} identities a group, AUC {auc}, truth {truth:.3f}, "
                      f"mean {np.mean(values):.3f}: covers {held / count:.3f}{beside}", flush=True)


if __name__ == "__main__":
    main()
