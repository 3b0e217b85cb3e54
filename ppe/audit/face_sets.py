"""From a source of photos to faces and embeddings on disk, block by block, so that an interrupted audit goes on.

Each block is a file named after a hash of its photos, of the models and of all settings. When all are there they are joined into
mapped arrays, which a second audit of the same faces opens at once.
"""

import hashlib
import json
import shutil
import time
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd
from tqdm import tqdm

from ppe.audit.attributes import ATTRIBUTES, measure_attributes
from ppe.audit.resolution import CROP, cut_square
from ppe.config.storage import create_array, hold_lock, load_array, read_block, release_pages, save_json, write_whole
from ppe.embedders.embed import embed_faces
from ppe.faces import LANDMARK_COLUMNS, resize_faces
from ppe.faces.cutting import cut_out, open_photos
from ppe.faces.detection import iter_faces

VERSION = 2
"""Changes where the same photos would give other arrays."""
BLOCK = 1024
"""Photos of a block: what is lost at most by an interruption."""
LINE_SECONDS = 60
READ = 16
"""Photos in memory at a time, beside those in which a face is being looked for."""
THUMBNAIL = 32
"""Side in pixels of the faces that are kept, to be shown and compared as pictures."""


@dataclass
class FaceSet:
    """Faces that were found, one row each, and photos without one.

    row : int64 [N], rising: the photo of each face, in the source. name, identity : ndarray [N] of str.
    thumbs : uint8 [N, 3, s, s], s at most ``THUMBNAIL``. attributes : DataFrame, N rows (``ppe.audit.attributes``).
    vectors : dict, model -> float32 [N, D] of unit norm, mapped.
    misses : DataFrame name, identity, reason. digest : str, a hash of all photos.
    """

    row: np.ndarray
    name: np.ndarray
    identity: np.ndarray
    thumbs: np.ndarray
    attributes: pd.DataFrame
    vectors: dict
    misses: pd.DataFrame
    digest: str

    def __len__(self):
        return len(self.row)


@dataclass
class Models:
    """What turns photos into faces and embeddings.

    nets : dict, name -> ``ppe.embedders.Embedder``. hashes : dict, name -> str, of the weights. detector : MTCNN.
    rules : the section ``detection`` of params. device : str. form : ppe.audit.resolution.Form. openings : dict, name -> dict,
    how the weights are opened, where they do not say it themselves (``Embedder.opening`` of params).
    """

    nets: dict
    hashes: dict
    detector: object
    rules: object
    device: str
    form: tuple
    openings: dict = field(default_factory=dict)


def embed_source(source, models, cache, *, is_generated=False, label="faces"):
    """Find, align, reduce and embed all faces of a source, or open what an earlier call left.

    Parameters
    ----------
    source : ppe.audit.inputs.Source
    models : Models
    cache : path. Folder that git ignores.
    is_generated : bool
        Pictures of a generator: aligned crops are taken as they are; in others a face is looked for that fills the picture.
    label : str, of the progress bar.

    Returns
    -------
    FaceSet

    Raises
    ------
    OSError
        If the disk is full; what was computed stays.
    ValueError
        If no face is found at all.
    """
    settings = [VERSION, CROP, models.form.resolution, models.form.is_aligned and is_generated, is_generated, models.hashes,
                models.openings, models.rules.model_dump(), THUMBNAIL]  # fmt: skip
    known = hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()
    starts = range(0, len(source), BLOCK)
    digests = [source.digest(start, min(start + BLOCK, len(source))) for start in _show(starts, f"{label}: reading", "block")]
    digest = hashlib.sha256("".join(digests).encode()).hexdigest()
    folder = Path(cache) / hashlib.sha256(f"{known}{digest}".encode()).hexdigest()[:24]
    folder.parent.mkdir(parents=True, exist_ok=True)
    with hold_lock(folder.with_suffix(".lock"), f"{label}: another audit embeds the same pictures: waiting until it ends"):
        if (folder / "done.json").is_file():
            try:
                return _open_set(source, folder, models, digest)
            except (OSError, ValueError, KeyError):  # a hand, or another program, has damaged what an earlier audit kept
                print(f"{label}: what was kept in {folder} is damaged, and is made again", flush=True)
                shutil.rmtree(folder)
        _embed_blocks(source, folder, models, is_generated, label)
        return _open_set(source, folder, models, digest)


def _embed_blocks(source, folder, models, is_generated, label):
    """Embed what an earlier call has not, then join all blocks to the arrays that ``_open_set`` opens."""
    blocks, told = [], time.monotonic()
    with tqdm(total=len(source), desc=label, unit="picture", disable=None) as bar:
        for number, start in enumerate(range(0, len(source), BLOCK)):
            file = folder / f"block-{number:06d}.npz"
            stop = min(start + BLOCK, len(source))
            if not _is_whole(file):
                arrays = _embed_block(source, start, stop, models, is_generated)
                with write_whole(file) as partial, open(partial, "wb") as stream:
                    np.savez(stream, **arrays)
            blocks.append(file)
            bar.update(stop - start)
            if bar.disable and time.monotonic() > told + LINE_SECONDS:  # in a log, a line a minute in place of a bar
                told = time.monotonic()
                print(f"{label}: {stop} of {len(source)} pictures", flush=True)
    _join_blocks(blocks, folder, models, f"any of {len(source)} pictures of {label}")


def _show(blocks, label, unit):
    return tqdm(blocks, desc=label, unit=unit, disable=None, leave=False)


def _is_whole(file):
    """Whether a block can be read: one that a full disk, or a hand, has damaged is made again."""
    try:
        with np.load(file, allow_pickle=False) as arrays:
            return len(arrays["row"]) >= 0
    except (OSError, ValueError, KeyError, EOFError):
        return False
    except Exception:  # of zipfile
        return False


def _embed_block(source, start, stop, models, is_generated):
    """Arrays of a block: row, thumbs, attributes, vectors-<model>, and the misses."""
    cut = _take_crops if is_generated and models.form.is_aligned else _find_faces
    rules = None if is_generated else models.rules
    rows, faces, marks, missed, reasons = cut(source, start, stop, models, rules)
    attributes = measure_attributes(faces, marks)
    arrays = {"row": np.array(rows, np.int64), "attributes": attributes, "miss": np.array(missed, np.int64),
              "reason": np.array(reasons, dtype=np.str_) if reasons else np.zeros(0, "U1")}  # fmt: skip
    arrays["thumbs"] = resize_faces(faces, min(THUMBNAIL, models.form.resolution)).numpy()
    for name, net in models.nets.items():
        arrays[f"vectors-{name}"] = np.asarray(embed_faces(faces, net, device=models.device), np.float32)
    return arrays


def _take_crops(source, start, stop, models, rules):
    """Aligned crops as they are: rows, faces uint8 [n, 3, r, r], no landmarks, rows without a face and why."""
    rows, faces, missed, reasons = [], [], [], []
    for first in range(start, stop, READ):
        for row, photo in enumerate(source.read(first, min(first + READ, stop)), first):
            is_square = photo.pixels is not None and photo.pixels.shape[0] == photo.pixels.shape[1]
            if is_square:
                rows.append(row)
                faces.append(cut_square(photo.pixels, models.form.resolution))
            else:
                missed.append(row)
                reasons.append(photo.reason or "it is not square, but most of the other pictures are aligned crops")
    return rows, _stack(faces, models), None, missed, reasons


def _find_faces(source, start, stop, models, rules):
    """The main face of each photo, aligned; as ``_take_crops``, with landmarks, probability and size."""
    found, opened, missed, reasons = {}, {}, [], []
    firsts = range(start, stop, READ)
    blocks = ((range(first, min(first + READ, stop)), source.read(first, min(first + READ, stop))) for first in firsts)
    for block in iter_faces(open_photos(blocks, opened), models.detector, rules):
        for position, _, row in block:
            photo = opened.pop(position)
            if row["detected"]:
                marks = [row[column] for column in LANDMARK_COLUMNS]
                found[position] = cut_out(photo, marks, CROP), [*marks, row["probability"]]
            else:
                missed.append(position)
                reasons.append(row["reason"])
    rows, order = sorted(found), np.argsort(missed, kind="stable")
    faces = np.stack([found[row][0] for row in rows]) if rows else np.zeros((0, 3, CROP, CROP), np.uint8)
    marks = np.array([found[row][1] for row in rows]).reshape(-1, 11)
    reduced = resize_faces(faces, models.form.resolution).numpy()
    return rows, reduced, marks, [missed[i] for i in order], [reasons[i] for i in order]


def _stack(faces, models):
    side = models.form.resolution
    return np.stack(faces) if faces else np.zeros((0, 3, side, side), np.uint8)


def _join_blocks(files, folder, models, what):
    """Write the arrays of all blocks one after the other, then remove the blocks."""
    counts, misses, shapes = [], [], {}
    names = ["row", "attributes", "thumbs", *(f"vectors-{name}" for name in models.nets)]
    for file in files:
        with np.load(file) as arrays:
            counts.append(len(arrays["row"]))
            misses += [
                {"row": int(row), "reason": str(reason)} for row, reason in zip(arrays["miss"], arrays["reason"], strict=True)
            ]
            shapes = shapes or {name: (arrays[name].shape[1:], arrays[name].dtype) for name in names}
    ends = np.cumsum(counts)
    if not ends[-1]:
        raise ValueError(f"no face was found in {what}: {misses[0]['reason']}")
    for name, (shape, dtype) in shapes.items():
        with create_array(folder / f"{name}.npy", (int(ends[-1]), *shape), dtype) as joined:
            for file, end, count in zip(files, ends, counts, strict=True):
                with np.load(file) as arrays:
                    joined[end - count : end] = arrays[name]
                release_pages(joined)
    save_json(misses, folder / "misses.json")
    save_json({"version": VERSION, "faces": int(ends[-1])}, folder / "done.json")
    for file in files:
        file.unlink()


def _open_set(source, folder, models, digest):
    row = np.array(load_array(folder / "row.npy"))
    attributes = pd.DataFrame(np.array(load_array(folder / "attributes.npy")), columns=list(ATTRIBUTES))
    missed = json.loads((folder / "misses.json").read_text())
    identity = np.array(source.identity, object) if source.identity is not None else None
    misses = pd.DataFrame({
        "name": [source.names[miss["row"]] for miss in missed],
        "identity": [identity[miss["row"]] if identity is not None else "" for miss in missed],
        "reason": [miss["reason"] for miss in missed],
    })  # fmt: skip
    return FaceSet(
        row, np.array([source.names[i] for i in row], object) if identity is not None else row,
        identity[row] if identity is not None else row,
        load_array(folder / "thumbs.npy"), attributes,
        {name: load_array(folder / f"vectors-{name}.npy") for name in models.nets}, misses, digest,
    )  # fmt: skip


def read_vectors(vectors, rows):
    """Chosen rows of mapped embeddings: ndarray [n, D]."""
    chosen = np.array(vectors[np.asarray(rows, np.int64)])
    release_pages(vectors)
    return chosen


__all__ = ["BLOCK", "FaceSet", "Models", "embed_source", "read_block", "read_vectors"]
