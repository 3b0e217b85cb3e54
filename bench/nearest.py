"""How fast is the exact nearest neighbour, compared with other implementations in one run on one machine?

    pip install faiss-cpu        # optional, only for this comparison
    python bench/nearest.py                                     # 10,000 queries x 100,000 faces x 512
    python bench/nearest.py --faces clustered                   # as faces are: photos around identities
    python bench/nearest.py --faces collapsed                   # a generator with one face
    python bench/nearest.py --mapped --queries 200 --rows 4000000   # files larger than memory, read block by block
    python bench/nearest.py --mapped --rows 1000000             # 10,000 queries x 1,000,000 faces of 32 px in under 2 GB
    python bench/nearest.py --queries 20000 --rows 500000       # a tenth of two published face sets of 200,000 and 500,000
    python bench/nearest.py --queries 200000 --rows 500000 --only find_nearest faiss-cpu --repeats 1   # the whole

The comparison is with the matrix product that every exact method needs, with scikit-learn's ``NearestNeighbors`` (used by
GAN-Leaks) and with faiss-cpu's flat index. Each is run twice (``--repeats``), and the shorter time counts. Peak memory is
that of the whole process, including pages of the mapped files, which are released block by block.

OPENBLAS_CORETYPE and OPENBLAS_L2_SIZE, where they are set, restrict numpy and scikit-learn to another processor's code and make
them slower: run as ``env -u OPENBLAS_CORETYPE -u OPENBLAS_L2_SIZE python bench/nearest.py``.
"""

import argparse
import importlib.util
import os
import platform
import resource
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from sklearn.neighbors import NearestNeighbors
from threadpoolctl import threadpool_limits

from ppe.attacks.nearest import find_nearest
from ppe.config import load_array
from ppe.embedders.embed import embed_faces

FACE_SIDE = 32
IMPLEMENTATIONS = ["find_nearest", "matrix product", "scikit-learn", "faiss-cpu"]
"""In the order in which they run: the peak of the first is that of the searched rows and its own."""


def draw_unit(rows, width, seed):
    """Random unit vectors, float32 [rows, width]."""
    vectors = np.random.default_rng(seed).standard_normal((rows, width), dtype=np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def draw_faces(rows, width, seed, kind):
    """Unit vectors ``spread`` evenly, ``clustered`` around 40 identities (cosine 0.7 within), or ``collapsed`` to one face."""
    if kind == "spread":
        return draw_unit(rows, width, seed)
    rng = np.random.default_rng(seed)
    centres = draw_unit(40 if kind == "clustered" else 1, width, 7)  # the same for queries and database
    noise = 0.65 if kind == "clustered" else 1e-4
    vectors = centres[rng.integers(len(centres), size=rows)] + noise * draw_unit(rows, width, seed)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def read_memory():
    """Peak memory of the process, and its mapped pages at this moment, GB."""
    mapped = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("RssFile")]
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20, int(mapped[0].split()[1]) / 2**20


def measure(name, call, results, repeats=2):
    """Keep the shortest time of a few calls, and the last result."""
    times = []
    for _ in range(repeats):
        started = time.perf_counter()
        answer = call()
        times.append(time.perf_counter() - started)
    results[name] = (min(times), answer)
    print(f"{name}: {min(times):.2f} s", flush=True)


def multiply(query, database, block_size=8192):
    """The product alone, in the same blocks, without a search."""
    for start in range(0, len(database), block_size):
        query @ database[start : start + block_size].T


def search_sklearn(query, database):
    """The nearest row by scikit-learn; on unit vectors the nearest by L2 is the nearest by cosine."""
    search = NearestNeighbors(n_neighbors=1, algorithm="brute", metric="euclidean").fit(database)
    return search.kneighbors(query, return_distance=False)[:, 0]


def search_faiss(query, database):
    """The nearest row by faiss's exact index of inner products."""
    import faiss

    faiss.omp_set_num_threads(torch.get_num_threads())
    index = faiss.IndexFlatIP(query.shape[1])
    index.add(database)
    return index.search(query, 1)[1][:, 0]


class Projection(torch.nn.Module):
    """Stands in for an embedder, which would take an hour for a million faces; its embeddings have the same size."""

    def __init__(self, width):
        super().__init__()
        self.register_buffer("weight", torch.from_numpy(draw_unit(3 * FACE_SIDE**2, width, 0)))

    def forward(self, faces):
        return torch.nn.functional.normalize((faces.flatten(1).float() - 127.5) @ self.weight)


def embed_mapped(rows, width, folder):
    """Embed faces of a mapped file as notebook 5 does: above a limit the embeddings are in a mapped file, too."""
    path = Path(folder) / "faces.npy"
    shape = (rows, 3, FACE_SIDE, FACE_SIDE)
    with open(path, "wb") as file:
        np.lib.format.write_array_header_1_0(file, {"descr": "|u1", "fortran_order": False, "shape": shape})
        for number, start in enumerate(range(0, rows, 50_000)):
            size = (min(50_000, rows - start), *shape[1:])
            file.write(np.random.default_rng(number).integers(0, 256, size, np.uint8).tobytes())
    return embed_faces(load_array(path), Projection(width), batch_size=256)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--queries", type=int, default=10_000)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--width", type=int, default=512)
    parser.add_argument("--faces", choices=["spread", "clustered", "collapsed"], default="spread")
    parser.add_argument("--only", nargs="+", choices=IMPLEMENTATIONS, default=IMPLEMENTATIONS, help="of these (all)")
    parser.add_argument("--repeats", type=int, default=2, help="calls of each, of which the shortest counts (2)")
    parser.add_argument("--threads", type=int, default=0, help="of all implementations; 0: as many as there are cores")
    parser.add_argument("--mapped", action="store_true", help="embed_faces and find_nearest alone, from memory-mapped files")
    options = parser.parse_args()
    if options.threads:
        torch.set_num_threads(options.threads)
        threadpool_limits(options.threads)
    print(f"{options.queries} x {options.rows} x {options.width}, {torch.get_num_threads()} threads, {platform.processor()}")
    for name in ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE"):
        if name in os.environ:
            print(f"{name} is set: scikit-learn is slower than it need be (see the docstring)")
    query, results = draw_faces(options.queries, options.width, 10**6, options.faces), {}
    if options.mapped:
        with tempfile.TemporaryDirectory(dir=".") as folder:
            tempfile.tempdir = folder  # a folder for temporary files may be in memory, which would be counted
            measure("embed_faces, mapped", lambda: embed_mapped(options.rows, options.width, folder), results, repeats=1)
            database = results["embed_faces, mapped"][1]
            before, _ = read_memory()
            measure("find_nearest, mapped", lambda: find_nearest(query, database), results, repeats=1)
            after, mapped = read_memory()
        kept = f"{type(database).__name__} of {database.nbytes / 2**30:.1f} GB, {mapped:.2f} GB of it mapped"
        print(f"{kept}; peak {after:.2f} GB, {before:.2f} before the search")
        return
    database = draw_faces(options.rows, options.width, 1, options.faces)
    tensors = torch.from_numpy(query), torch.from_numpy(database)
    calls = [lambda: find_nearest(*tensors)[1].numpy(), lambda: multiply(*tensors), lambda: search_sklearn(query, database),
             lambda: search_faiss(query, database)]  # fmt: skip
    for name, call in zip(IMPLEMENTATIONS, calls, strict=True):
        if name not in options.only or (name == "faiss-cpu" and not importlib.util.find_spec("faiss")):
            continue
        before, _ = read_memory()
        measure(name, call, results, options.repeats)
        print(f"peak of the process {read_memory()[0]:.2f} GB, {before:.2f} before", flush=True)
    if "find_nearest" not in results:
        return
    ours, answer = results["find_nearest"]
    for name, (seconds, other) in results.items():
        agrees = "" if other is None or name == "find_nearest" else f", {np.mean(other == answer):.4%} of the rows agree"
        print(f"{name}: {seconds / ours:.2f} x the time of find_nearest{agrees}")


if __name__ == "__main__":
    main()
