"""How much noise differential privacy needs, by the number of identities: the accountant alone, no training.

    python bench/privacy.py

For each number of identities: the noise multiplier for the given epsilon (RDP accountant of Opacus), the identities in a step,
and how often the summed gradient, if all identities agree, is as large as the noise *in one direction*. Over all directions the
noise is larger by the root of the number of weights; a network learns what many identities have in common, so the ratio has to
be well above 1.
"""

import argparse

from ppe.config import load_params
from ppe.generators import build
from ppe.generators.training.private import compute_rate, find_noise_multiplier


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--epsilon", type=float, nargs="+", default=[1, 8, 100, 1000])
    parser.add_argument("--identities", type=int, nargs="+", default=[10, 40, 220, 1000, 10_000, 100_000])
    parser.add_argument("--photos", type=int, default=5, help="of an identity")
    parser.add_argument("--kimg", type=float, default=20)
    options = parser.parse_args()
    params = load_params()
    settings = params.generators["edm"].model_dump()
    size = sum(p.numel() for p in build("edm", 32, settings)[0].parameters())
    print(f"EDM at 32 px has {size:,} weights; {options.kimg:g} kimg, {options.photos} photos of an identity")
    for epsilon in options.epsilon:
        for count in options.identities:
            # An epoch is a step where the batch holds all: larger batches for larger sets, at equally many steps.
            batch = max(settings["batch_size"], count * options.photos // 16)
            photos = count * options.photos
            rate = compute_rate(settings | {"batch_size": batch}, photos)
            steps = max(1, round(options.kimg * 1000 / settings["batch_size"]))
            rules = {"epsilon": epsilon, "delta": min(params.defences.dp_delta, 0.1 / count)}
            noise = find_noise_multiplier(rules, rate, steps)
            ratio = rate * count / noise
            print(f"epsilon {epsilon:g}, {count} identities: {rate * count:.0f} in a step, noise multiplier {noise:.2f}, "
                  f"signal over noise {ratio:.2f} in one direction, {ratio / size**0.5:.4f} over all", flush=True)


if __name__ == "__main__":
    main()
