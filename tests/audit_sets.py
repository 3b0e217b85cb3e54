"""Face sets of an audit without photos: identities are directions, and a generator that learned some of them draws near them."""

from types import SimpleNamespace

import numpy as np
import pandas as pd

from ppe.audit.attributes import ATTRIBUTES
from ppe.audit.face_sets import FaceSet
from ppe.audit.inputs import Numbers, Source
from ppe.audit.resolution import Form
from ppe.audit.walk import Sets

WIDTH = 64


def draw_people(names, photos, rng, spread=0.6):
    """Unit embeddings of some photos of each person: (vectors [N, D], identity [N])."""
    centres = rng.normal(size=(len(names), WIDTH))
    vectors = np.repeat(centres, photos, axis=0) + spread * rng.normal(size=(len(names) * photos, WIDTH))
    return unit(vectors), np.repeat(np.array(names, object), photos), unit(centres)


def unit(rows):
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def make_set(vectors, identity, rng, *, sharp=0.0, misses=()):
    """A FaceSet of embeddings by two models, the second of which sees the first's with noise."""
    thumbs = rng.integers(0, 256, (len(vectors), 3, 16, 16), dtype=np.uint8)
    attributes = pd.DataFrame(rng.normal(size=(len(vectors), len(ATTRIBUTES))), columns=list(ATTRIBUTES))
    attributes["sharpness"] += sharp
    second = unit(vectors + 0.3 * rng.normal(size=vectors.shape) / 8)
    name = np.array([f"{person}/{number}.png" for number, person in enumerate(identity)], object)
    table = pd.DataFrame(misses, columns=["name", "identity", "reason"])
    both = {"one": vectors, "two": second}
    return FaceSet(np.arange(len(vectors)), name, np.asarray(identity), thumbs, attributes, both, table, "0" * 64)


def make_audit(
    *, num_people=20, num_members=5, num_controls=90, photos=4, num_generated=1500, leak=0.4, seed=0, sharp=0.0, misses=()
):  # fmt: skip
    """Sets of an audit: the first ``num_members`` people are members, near whom a share ``leak`` of the faces is drawn."""
    rng = np.random.default_rng(seed)
    people, identity, centres = draw_people([f"Åsa {n:02}" for n in range(num_people)], photos, rng)
    controls, control_identity, _ = draw_people([f"control {n:03}" for n in range(num_controls)], photos, rng)
    generated = rng.normal(size=(num_generated, WIDTH))
    count = int(leak * num_generated) if num_members else 0
    generated[:count] = 8 * centres[np.arange(count) % max(num_members, 1)] + 0.6 * rng.normal(size=(count, WIDTH))
    faces = {"generated": make_set(unit(generated), np.arange(num_generated), rng),
             "people": make_set(people, identity, rng, sharp=sharp, misses=misses)}  # fmt: skip
    if num_controls:
        faces["controls"] = make_set(controls, control_identity, rng)
    sources = {name: Source(f"{len(own)} drawn faces", Numbers(len(own)), None, None) for name, own in faces.items()}
    form = Form(True, 32, 32, 128, 128, 0.05, False)
    models = SimpleNamespace(nets={"one": None, "two": None}, hashes={"one": "1" * 64, "two": "2" * 64}, form=form)
    return Sets(faces, sources, models, form)
