"""How fast are embedders trained and applied on a CPU, by threads, precision and batch?

    python bench/embedders.py
    python bench/embedders.py --untrained  # how often does a network that learned nothing pass the bound on few people?

Training: the embedders of ``params.yaml`` one after another with all threads, or side by side with a thread each, in float32 and
in bfloat16. Embedding, by MobileFaceNets and by dlib's model: one batch at a time with all threads, or as many batches as there
are threads. Ratios hold within one run.
"""

import argparse
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch

from ppe.config import load_params
from ppe.datasets.synthetic import draw_photos, sample_identities
from ppe.embedders import build, load
from ppe.embedders.dlib import PACKAGE, find_installed
from ppe.embedders.embed import compute_verification, embed_faces, verify_pairs
from ppe.embedders.training import train_embedder

STEPS, IDENTITIES, PHOTOS = 20, 60, 8


def clock(call):
    """Seconds of a call."""
    started = time.perf_counter()
    call()
    return time.perf_counter() - started


def run_side_by_side(call, jobs, threads):
    """Call a function on each job, in as many threads as torch has, each with one of torch's threads."""
    with ThreadPoolExecutor(threads, initializer=torch.set_num_threads, initargs=(1,)) as pool:
        list(pool.map(call, jobs))
    torch.set_num_threads(threads)


def compare_training(recipes, threads):
    """Print seconds of a few steps of both embedders."""
    faces = torch.randint(0, 256, (IDENTITIES * PHOTOS, 3, 112, 112), dtype=torch.uint8)
    labels = torch.arange(len(faces)) // PHOTOS

    def train(recipe, dtype=torch.float32):
        options = recipe.model_dump(include={"input_size", "width", "loss", "batch_size", "learning_rate", "seed"})
        with torch.autocast("cpu", torch.bfloat16, enabled=dtype == torch.bfloat16):
            train_embedder(faces, labels, steps=STEPS, **options)

    train(recipes[0])  # warms up
    for dtype in (torch.float32, torch.bfloat16):
        alone = clock(lambda dtype=dtype: [train(recipe, dtype) for recipe in recipes])
        together = clock(lambda dtype=dtype: run_side_by_side(lambda recipe: train(recipe, dtype), recipes, threads))
        print(f"{len(recipes)} x {STEPS} steps, {dtype}: one after another {alone:.1f} s, side by side {together:.1f} s",
              flush=True)  # fmt: skip


def compare_embedding(name, net, count, threads):
    """Print milliseconds a face by batch."""
    input_size = net.input_size
    faces = torch.randint(0, 256, (count, 3, input_size, input_size), dtype=torch.uint8)

    def embed(batch):
        with torch.inference_mode():
            net(batch)

    embed(faces[:64])
    for size in (8, 16, 32, 64):
        batches = faces.split(size)
        alone = clock(lambda batches=batches: [embed(batch) for batch in batches])
        started = time.process_time()
        together = clock(lambda batches=batches: run_side_by_side(embed, batches, threads))
        cpu = time.process_time() - started  # of all threads: other work on the machine hardly changes it
        print(f"{name}, {input_size} px, batches of {size}: one at a time {alone / count * 1e3:.2f} ms a face, "
              f"{threads} at a time {together / count * 1e3:.2f}, CPU time {cpu / count * 1e3:.2f}", flush=True)


def verify_untrained(bound, people=96, networks=3):
    """Print the verification AUC of untrained networks on disjoint groups of synthetic identities, by the size of a group."""
    faces = draw_photos(sample_identities(people, 7).repeat_interleave(PHOTOS, 0), torch.arange(PHOTOS * people), size=112)
    identity = np.repeat(np.arange(people), PHOTOS).astype(str)
    for size in (4, 8, 16, 32):
        aucs = []
        for seed in range(networks):
            torch.manual_seed(seed)
            vectors = embed_faces(faces, build("mobilefacenet", input_size=48, width=0.5), resolution=32)
            for start in range(0, people * PHOTOS, size * PHOTOS):
                group = slice(start, start + size * PHOTOS)
                pairs = verify_pairs(vectors[group], identity[group], num_pairs=200, seed=1)
                aucs.append(compute_verification(*pairs)["auc"])
        passed = sum(auc >= bound for auc in aucs)
        print(f"{size} people: AUC {np.mean(aucs):.2f}, SD {np.std(aucs):.2f}, {passed} of {len(aucs)} pass {bound}", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--untrained", action="store_true", help="untrained networks on few people")
    if parser.parse_args().untrained:
        return verify_untrained(load_params().verdicts.min_verification_auc)
    threads = torch.get_num_threads()
    recipes = [recipe for recipe in load_params().embedders.values() if recipe.steps]
    compare_training(recipes, threads)
    compare_embedding("width 0.5", build("mobilefacenet", input_size=48, width=0.5), 2048, threads)
    compare_embedding("width 1", build("mobilefacenet", input_size=112, width=1.0), 512, threads)
    if find_installed() is not None:
        compare_embedding("dlib", load("dlib", PACKAGE), 512, threads)


if __name__ == "__main__":
    main()
