"""How much of the bare nets' speed is left when faces are detected, aligned and embedded through the study's functions.

    python bench/pipeline.py          # seconds by the clock
    python bench/pipeline.py --cpu    # CPU seconds of one thread, which other work on the machine hardly moves
    python bench/pipeline.py --audit  # what an audit does with generated faces, beside the models that it calls

The bare nets get what they need and nothing else has to be done: facenet-pytorch's detector, as it comes, frames that are
already cut to its size, in one look at each photo; the embedder aligned faces that are already floats in its layout. Either
is called in the ordinary way, one batch after another, with torch's own threads. The study's functions start from photos,
look a second time where no face was found, and flag duplicates. The same 256 drawn photos for all, in turns, the fastest of
each: other work on the machine then hits all alike. ``side by side`` is the bare nets on as many batches at a time as there
are threads, which is how the study calls them: what is lost beside that is the work of cutting and aligning itself.

An audit reads aligned faces of 32 px from an array, hashes them, measures their attributes, embeds them with two models, and
writes a file a block. The bare models get what they take, as above.
"""

import argparse
import tempfile
import time
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from facenet_pytorch import MTCNN

from ppe.audit.face_sets import Models, embed_source
from ppe.audit.inputs import open_generated
from ppe.audit.resolution import Form
from ppe.config import load_params
from ppe.datasets.photos import Photo
from ppe.datasets.synthetic import draw_photos, sample_identities
from ppe.embedders import build, load
from ppe.embedders.dlib import PACKAGE
from ppe.embedders.embed import embed_faces
from ppe.faces import LANDMARK_COLUMNS, align_faces, build_detector, detect_faces, prepare_faces
from ppe.faces.detection import LOOKS
from ppe.faces.detector import frame_photo
from ppe.faces.workers import open_workers

PEOPLE, PHOTOS, BATCH, BLOCK, ROUNDS = 64, 4, 16, 64, 3


def measure(calls, clock):
    """Seconds of the fastest of a few calls of each, taken in turns after one to warm up."""
    times = {name: [] for name in calls}
    for _ in range(ROUNDS + 1):
        for name, call in calls.items():
            started = clock()
            call()
            times[name].append(clock() - started)
    return {name: min(seconds[1:]) for name, seconds in times.items()}


def run_side_by_side(call, batches):
    """Call on as many batches at a time as torch has threads, each with one."""
    with open_workers("cpu") as pool:
        list(pool.map(call, batches))


@torch.inference_mode()
def embed_bare(net, batch):
    return net(batch)


RULES = load_params().detection


def compare_audit(clock, count=2048):
    """Print how much of the speed of two bare models is left in an audit of aligned faces."""
    nets = {"mobilefacenet": build("mobilefacenet"), "dlib": load("dlib", PACKAGE)}
    people = sample_identities(count // 8, 1).repeat_interleave(8, 0)
    faces = draw_photos(people, torch.arange(count), size=32)
    form = Form(is_aligned=True, resolution=32, side=32, num_sampled=0, num_found=0, offset=0.0, is_coarse=False)
    models = Models(nets, dict.fromkeys(nets, "untrained"), None, RULES, "cpu", form)
    ready = {}
    for name, net in nets.items():
        sized = torch.nn.functional.interpolate(net.normalise(faces), (net.input_size, net.input_size), mode="bilinear")
        ready[name] = [part.contiguous(memory_format=torch.channels_last) for part in sized.split(BATCH)]

    def audit():
        with tempfile.TemporaryDirectory() as cache:
            embed_source(source, models, cache, is_generated=True)

    with tempfile.TemporaryDirectory() as folder:
        np.save(Path(folder) / "faces.npy", faces.numpy())
        source = open_generated(str(Path(folder) / "faces.npy"), Path(folder))
        seconds = measure({
            "bare models": lambda: [embed_bare(net.net, batch) for name, net in nets.items() for batch in ready[name]],
            "side by side": lambda: [run_side_by_side(partial(embed_bare, net.net), ready[name]) for name, net in nets.items()],
            "audit": audit,
        }, clock)  # fmt: skip
    for name, value in seconds.items():
        print(f"{name:27s} {1000 * value / count:6.2f} ms a face")
    bare, side, whole = seconds.values()
    print(f"audit: {bare / whole:.2f} of the two bare models, {side / whole:.2f} of them side by side")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--cpu", action="store_true", help="CPU seconds of one thread")
    parser.add_argument("--audit", action="store_true", help="generated faces in an audit")
    options = parser.parse_args()
    clock = time.process_time if options.cpu else time.perf_counter
    torch.set_num_threads(1 if options.cpu else torch.get_num_threads())
    if options.audit:
        return compare_audit(clock)
    count = PEOPLE * PHOTOS
    vectors = sample_identities(PEOPLE, 1).repeat_interleave(PHOTOS, 0)
    photos = list(draw_photos(vectors, torch.arange(count)).permute(0, 2, 3, 1).numpy())
    index = pd.DataFrame({"image_id": range(count), "identity": np.arange(count) // PHOTOS})
    blocks = [(np.arange(start, start + BLOCK), [*map(Photo, photos[start : start + BLOCK])]) for start in range(0, count, BLOCK)]
    detector, net = build_detector(), build("mobilefacenet")
    faces, table = prepare_faces(index, blocks, rules=RULES, detector=detector)
    found = table.detected.to_numpy()
    held = [photo for photo, is_found in zip(photos, found, strict=True) if is_found]
    landmarks = table.loc[found, LANDMARK_COLUMNS].to_numpy().reshape(-1, 5, 2)
    frame = LOOKS[0].frame
    frames = np.stack([frame_photo(photo, LOOKS[0])[0] for photo in photos]).reshape(-1, BATCH, frame, frame, 3)
    batches = [net.normalise(part) for part in torch.from_numpy(faces).split(BATCH)]
    batches = [batch.contiguous(memory_format=torch.channels_last) for batch in batches]
    shipped = MTCNN(keep_all=True, post_process=False, min_face_size=LOOKS[0].min_face)
    shipped = shipped.to(memory_format=torch.channels_last).eval()
    look, embed = partial(shipped.detect, landmarks=True), partial(embed_bare, net.net)
    seconds = measure({
        "bare detector": lambda: [look(part) for part in frames],
        "bare detector side by side": lambda: run_side_by_side(look, frames),
        "bare embedder": lambda: [embed(part) for part in batches],
        "bare embedder side by side": lambda: run_side_by_side(embed, batches),
        "detect_faces": lambda: detect_faces(photos, rules=RULES, detector=detector),
        "align_faces": lambda: align_faces(held, landmarks),
        "prepare_faces": lambda: prepare_faces(index, blocks, rules=RULES, detector=detector),
        "embed_faces": lambda: embed_faces(faces, net, batch_size=BATCH),
    }, clock)  # fmt: skip
    print(f"{count} photos, {found.sum()} faces found, {torch.get_num_threads()} threads")
    for name, value in seconds.items():
        print(f"{name:27s} {1000 * value / count:6.2f} ms a photo")
    bare, net_alone = seconds["bare detector"], seconds["bare embedder"]
    whole = seconds["prepare_faces"] + seconds["embed_faces"]
    print(f"detect: {bare / seconds['detect_faces']:.2f} of the bare detector")
    aligned, side = seconds["prepare_faces"], seconds["bare detector side by side"]
    print(f"detect, align, flag duplicates: {bare / aligned:.2f} of the bare detector, {side / aligned:.2f} of it side by side")
    print(f"embed: {net_alone / seconds['embed_faces']:.2f} of the bare embedder")
    both = side + seconds["bare embedder side by side"]
    print(f"the whole: {(bare + net_alone) / whole:.2f} of the two bare nets, {both / whole:.2f} of them side by side")


if __name__ == "__main__":
    main()
