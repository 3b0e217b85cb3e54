"""How much of the bare nets' speed is left when faces are detected, aligned and embedded through the study's functions.

    python bench/pipeline.py

Three ratios in one run on drawn people: ``detect_faces`` against the bare detector on ready batches, ``prepare_faces``
(detect, align, flag duplicates) likewise, and ``embed_faces`` from a file against the bare net on ready batches.
"""

import time

import numpy as np
import torch

from ppe.embedders import build
from ppe.embeddings import embed_faces
from ppe.faces import align_faces, build_detector, detect_faces
from ppe.synthetic import draw_photos, sample_identities

COUNT, BATCH, REPEATS = 128, 16, 3


def measure(call):
    """Seconds of the fastest of a few calls, after one to warm up."""
    call()
    times = []
    for _ in range(REPEATS):
        started = time.perf_counter()
        call()
        times.append(time.perf_counter() - started)
    return min(times)


@torch.inference_mode()
def main():
    photos = draw_photos(sample_identities(COUNT, 1), torch.arange(COUNT))
    pictures = list(photos.permute(0, 2, 3, 1).numpy())
    detector = build_detector()
    table = detect_faces(pictures, detector=detector)
    landmarks = table.filter(regex="_[xy]$").to_numpy(np.float32).reshape(-1, 5, 2)
    found = np.isfinite(landmarks).all((1, 2))
    held = [picture for picture, is_found in zip(pictures, found, strict=True) if is_found]
    faces = align_faces(held, landmarks[found])

    frames = torch.nn.functional.interpolate(photos.float(), size=(192, 192), mode="bilinear").permute(0, 2, 3, 1)
    ready = [list(part.to(torch.uint8).numpy()) for part in frames.split(BATCH)]
    bare = measure(lambda: [detector.detect(part, landmarks=True) for part in ready])
    whole = measure(lambda: detect_faces(pictures, batch_size=BATCH, detector=detector))
    print(f"detector: bare {COUNT / bare:.1f}, detect_faces {COUNT / whole:.1f} photos a second, ratio {bare / whole:.2f}")
    aligned = measure(lambda: align_faces(held, landmarks[found]))
    print(f"detect and align: ratio {bare / (whole + aligned):.2f} of the bare detector")

    net = build("mobilefacenet")
    batches = [net.normalise(torch.from_numpy(faces[i : i + BATCH])) for i in range(0, len(faces), BATCH)]
    batches = [batch.contiguous(memory_format=torch.channels_last) for batch in batches]
    bare = measure(lambda: [net.net(batch) for batch in batches])
    whole = measure(lambda: embed_faces(faces, net, batch_size=BATCH))
    speeds = f"bare {len(faces) / bare:.1f}, embed_faces {len(faces) / whole:.1f} faces a second"
    print(f"embedder: {speeds}, ratio {bare / whole:.2f}")


if __name__ == "__main__":
    main()
