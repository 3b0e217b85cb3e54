"""How fast the generators train, beside the same loop without what makes it fast.

    python bench/train.py                                   # 32 px, the nets of params.yaml
    python bench/train.py --resolutions 32 64 128 256 --channel-base 16384   # the papers' widths, for a GPU
    python bench/train.py --side-by-side                    # three generators at once, a thread each, or one after another
    python bench/train.py --compile                         # what torch.compile gains, and what it costs before the first step

For each generator and resolution: images a second of the trainer as it is, with each precision; of the plain loop (float32,
contiguous memory); peak memory of a process of its own. ``lightweight-gan``, where it is installed and a GPU is there, trains
in the same run. Every number is the median of a few stretches after warming up; ratios hold within one run on one machine.
"""

import argparse
import importlib.util
import json
import platform
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch

from ppe.config import load_params
from ppe.generators import load_trainer
from ppe.generators.training import diffusion, gan
from ppe.generators.training import state as shared_state
from ppe.generators.training.groups import list_jobs, train_groups
from ppe.generators.training.loop import train_generator

PUBLISHED = """Published by others (images a second of training): StyleGAN2 128 px 80 (V100), 147 (A100); 256 px 48 and 80
(stylegan3, docs/configs.md); lightweight-gan 256 px about 15 (Colab, its issues 21 and 89)."""


def measure(family, settings, resolution, device, stretches=5, steps=16):
    """Images a second (median of some stretches) and peak memory in MB, of this process or its GPU."""
    images = torch.randint(0, 256, (200, 3, resolution, resolution), dtype=torch.uint8)
    trainer = load_trainer(family)
    state = trainer.start_training(images, family, settings, 1, device)
    step, speeds = 0, []
    for stretch in range(1 + stretches):  # the first warms up
        started = time.perf_counter()
        for _ in range(steps):
            trainer.train_step(state, step, settings, 1)
            step += 1
        if device == "cuda":
            torch.cuda.synchronize()
        if stretch:
            speeds.append(steps * settings["batch_size"] / (time.perf_counter() - started))
    memory = torch.cuda.max_memory_allocated() if device == "cuda" else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return {"speed": sorted(speeds)[len(speeds) // 2], "slowest": min(speeds), "fastest": max(speeds), "memory": memory / 2**20}


def measure_lightweight_gan(resolution, steps=30):
    """Images a second of lightweight-gan's own training step on random photos, batch 32, on a GPU."""
    from lightweight_gan import Trainer
    from PIL import Image

    with tempfile.TemporaryDirectory() as folder:
        for i in range(64):
            picture = torch.randint(0, 256, (resolution, resolution, 3), dtype=torch.uint8).numpy()
            Image.fromarray(picture).save(Path(folder) / f"{i}.png")
        trainer = Trainer(name="bench", results_dir=folder, models_dir=folder, image_size=resolution, batch_size=32,
                          gradient_accumulate_every=1, amp=True, save_every=10**9, evaluate_every=10**9, num_workers=4,
                          use_aim=False)
        trainer.set_data_src(folder)
        for _ in range(10):
            trainer.train()
        torch.cuda.synchronize()
        started = time.perf_counter()
        for _ in range(steps):
            trainer.train()
        torch.cuda.synchronize()
        return steps * 32 / (time.perf_counter() - started)


def measure_groups(family, settings, kimg=3.0):
    """Seconds of three trainings at once, a thread each, and of the same one after another with all threads."""
    images = torch.randint(0, 256, (50, 3, 32, 32), dtype=torch.uint8)
    recipe = {"family": family, "settings": settings, "kimg": kimg}
    seconds = []
    with tempfile.TemporaryDirectory() as folder:
        together = list_jobs(dict.fromkeys("abc", images), 1, Path(folder) / "together", "bench", **recipe)
        alone = list_jobs(dict.fromkeys("abc", images), 1, Path(folder) / "alone", "bench", **recipe)
        for call in (lambda: train_groups(together, "cpu", "bench"), lambda: [train_generator(**job) for job in alone]):
            started = time.perf_counter()
            call()
            seconds.append(time.perf_counter() - started)
    return seconds


def measure_compiled(family, settings, device):
    """Speed as it is and compiled, and seconds until the first compiled step is done, without the lazy regularisers (whose
    second derivatives torch.compile does not do): the most that compiling could gain."""
    settings = settings | {"r1_gamma": 0.0, "path_length_weight": 0.0}
    images = torch.randint(0, 256, (200, 3, 32, 32), dtype=torch.uint8)
    row, trainer = {}, load_trainer(family)
    for name in ("eager", "compiled"):
        state = trainer.start_training(images, family, settings, 1, device)
        if name == "compiled":
            for network, method in (("generator", "draw"), ("discriminator", "forward"), ("generator", "denoise")):
                if hasattr(state.get(network), method):
                    setattr(state[network], method, torch.compile(getattr(state[network], method)))
        started = time.perf_counter()
        for step in range(3):  # the discriminator's two passes and the generator's are compiled apart
            trainer.train_step(state, step, settings, 1)
        row[f"{name}_start"] = time.perf_counter() - started
        speeds = []
        for stretch in range(5):
            started = time.perf_counter()
            for step in range(16):
                trainer.train_step(state, 3 + 16 * stretch + step, settings, 1)
            if device == "cuda":
                torch.cuda.synchronize()
            speeds.append(16 * settings["batch_size"] / (time.perf_counter() - started))
        row[name] = sorted(speeds)[2]
    return row


def run_alone(family, resolution, variant, channel_base):
    """Measure one variant in a process of its own, so that peak memory is its own."""
    call = [sys.executable, __file__, "--one", family, str(resolution), variant, "--channel-base", str(channel_base)]
    done = subprocess.run(call, capture_output=True, text=True)
    if done.returncode:
        return {"error": (done.stderr.strip().splitlines() or [f"ended with exit code {done.returncode}"])[-1]}
    return json.loads(done.stdout.splitlines()[-1])


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--resolutions", type=int, nargs="+", default=[32])
    parser.add_argument("--generators", nargs="+", default=["fastgan", "stylegan2", "edm"])
    parser.add_argument("--channel-base", type=int, default=0, help="0: as in params.yaml; 16384: the papers' width at 256 px")
    parser.add_argument("--one", nargs=3, metavar=("GAN", "RESOLUTION", "VARIANT"), help="measure one variant and print JSON")
    parser.add_argument("--side-by-side", action="store_true", help="three GANs at once against one after another")
    parser.add_argument("--compile", action="store_true", help="what torch.compile gains")
    options = parser.parse_args()
    device = "cuda" if torch.cuda.is_available() else "cpu"
    params = load_params()
    if options.one:
        family, resolution, variant = options.one
        settings = params.generators[family].model_dump()
        if options.channel_base:
            settings |= {"channel_base": options.channel_base, "channel_base_discriminator": options.channel_base}
            settings |= {"channel_max": 512}
        if variant == "plain":
            gan.MEMORY_FORMAT = diffusion.MEMORY_FORMAT = torch.contiguous_format
            shared_state.TF32 = "highest"
            torch.backends.cudnn.allow_tf32 = False
        settings["precision"] = "bfloat16" if variant == "bfloat16" else "float32"
        print(json.dumps(measure(family, settings, int(resolution), device)))
        return
    if options.side_by_side:
        for family in options.generators:
            together, alone = measure_groups(family, params.generators[family].model_dump())
            print(f"{family}: three at once {together:.0f} s (with 3 starts of a process), one after another {alone:.0f} s, "
                  f"{alone / together:.2f} x as fast", flush=True)
        return
    if options.compile:
        for family in options.generators:
            row = measure_compiled(family, params.generators[family].model_dump(), device)
            print(f"{family}: {row['eager']:.0f} images/s, compiled {row['compiled']:.0f}; the first three steps take "
                  f"{row['eager_start']:.1f} s, compiled {row['compiled_start']:.0f} s", flush=True)
        return
    name = torch.cuda.get_device_name() if device == "cuda" else f"{platform.processor()} {torch.get_num_threads()} threads"
    print(f"torch {torch.__version__}, {name}")
    for resolution in options.resolutions:
        for family in options.generators:
            variants = {v: run_alone(family, resolution, v, options.channel_base) for v in ("plain", "float32", "bfloat16")}
            plain = variants["plain"].get("speed")
            for variant, row in variants.items():
                if "error" in row:
                    print(f"{family} {resolution} px {variant}: {row['error']}")
                    continue
                ratio = f", {row['speed'] / plain:.2f} x plain" if plain else ""
                spread = f"{row['slowest']:.0f} to {row['fastest']:.0f}"
                speed = f"{row['speed']:.0f} images/s ({spread}){ratio}"
                print(f"{family} {resolution} px {variant}: {speed}, {row['memory']:.0f} MB", flush=True)
        if device == "cuda" and importlib.util.find_spec("lightweight_gan"):
            print(f"lightweight-gan {resolution} px: {measure_lightweight_gan(resolution):.0f} images/s")
    print(PUBLISHED if device == "cuda" else PUBLISHED + "\nNo GPU here: lightweight-gan needs one, and is not measured.")


if __name__ == "__main__":
    main()
