"""Face detection in photos as people have them: close-ups first, then smaller faces and turned photos, until a face is sure.

Positions in a photo are in pixels, x to the right and y down, and (0, 0) is the *centre* of the first pixel.
"""

from collections import deque
from itertools import islice

import pandas as pd

from ppe.faces.alignment import LANDMARK_COLUMNS
from ppe.faces.closer_look import refine_faces
from ppe.faces.detector import LARGE, Look, build_detector, is_blown_out, look_at
from ppe.faces.main_face import BOX_COLUMNS, confirm_faces, describe_doubt, describe_face, no_face, settle_faces
from ppe.faces.workers import MAX_WORKERS, open_workers

FACE_COLUMNS = ["detected", "reason", "num_faces", "probability", "turned", *BOX_COLUMNS, *LANDMARK_COLUMNS]
MIN_SIDE = 20
"""Shortest side in pixels of a photo in which a face is searched for."""
CLOSE_UP, WIDE, TURNED = 16, 4, (1, 2, 3)
LOOKS = (
    Look(long_side=160, frame=192, min_face=40, turns=(0,), batch_size=CLOSE_UP),
    Look(long_side=112, frame=192, min_face=40, turns=(0,), batch_size=CLOSE_UP),
    Look(long_side=160, frame=192, min_face=40, turns=TURNED, batch_size=CLOSE_UP),
    Look(long_side=640, frame=768, min_face=20, turns=(0,), batch_size=WIDE),
    Look(long_side=640, frame=768, min_face=20, turns=TURNED, batch_size=WIDE),
    Look(long_side=160, frame=192, min_face=40, turns=(0,), batch_size=CLOSE_UP, gamma=2.0),
    Look(long_side=640, frame=768, min_face=20, turns=(0,), batch_size=WIDE, gamma=3.0),
    Look(long_side=480, frame=576, min_face=20, turns=(0, *TURNED), batch_size=WIDE, gamma=1.6),
    Look(long_side=800, frame=960, min_face=20, turns=(0,), batch_size=WIDE),
    Look(long_side=480, frame=576, min_face=20, turns=(0, *TURNED), batch_size=WIDE, gamma=0.6),
)
"""How a photo is looked at, until a face is sure. Most photos of faces are close-ups, and end with the first look. The second has
a wider margin, for a face that fills its photo to the edge (Olivetti). The third turns the photo. The next two look for faces
from 3 % of the photo's longer side on. Two are for photos that are blown out to white, and the last three for large photos. A
look at 640 px takes fifteen times as long as one at 160 px."""
NUM_USUAL = 5
"""Looks at a photo that is neither blown out nor large."""
FIRST_LAST = 7
"""First of the last looks, at a large photo in which no other found a face. What they show counts only if closer looks confirm
it."""
SMALL_LOOK = Look(long_side=LARGE, frame=384, min_face=20, turns=(0,), batch_size=WIDE)
"""The looks at 640 px, at a photo that is no larger than this."""
NUM_CLOSE_UPS = 2
"""First looks, the only ones at pictures that faces fill."""
ALL_TURNS_SEEN = (2, 4, 5, 6)
"""Looks after which a photo has been seen in all four turns, first for close-ups, then for all faces."""
FIRST_WIDE = 3
"""First look for small faces."""


def detect_faces(photos, device="cpu", rules=None, detector=None):
    """Detect the main face of each photo: of several of similar size, a large one near the middle.

    Every photo is scaled into square frames, so that photos of all sizes share a pass. The composition of a pass never changes a
    result.

    Parameters
    ----------
    photos : list of ndarray [H, W, 3], uint8, RGB; sizes may differ.
    device : str or torch.device
        Device of the detector that is built if none is given.
    rules : the section ``detection`` of params, or None
        When a detection counts. A photo without a sure face is looked at again: turned, and for smaller faces. None: every
        detection counts, and only close-ups are looked for, at least a quarter of the longer side: for generated faces.
    detector : MTCNN of ``build_detector``, or None

    Returns
    -------
    DataFrame, one row a photo, in order
        detected : bool; reason : str, "" if detected; num_faces : int, found the same way up; probability : float in [0, 1], of
        the face, or the largest that did not count; turned : int, quarter turns to the left after which the face is upright;
        ``BOX_COLUMNS`` and ``LANDMARK_COLUMNS`` : float, pixels of the photo, in steps of 1/16, NaN if not detected.
    """
    detector = detector or build_detector(str(device))
    rows = [None] * len(photos)
    for block in iter_faces(enumerate(photos), detector, rules):
        for position, _, row in block:
            rows[position] = row
    types = {"detected": bool, "reason": str, "num_faces": int, "turned": int, "probability": float}
    return pd.DataFrame(rows, columns=FACE_COLUMNS).astype(types | dict.fromkeys(BOX_COLUMNS + LANDMARK_COLUMNS, float))


def iter_faces(photos, detector, rules=None):
    """Detect faces in a stream of photos, several batches at a time.

    A photo without a sure face waits until there are enough for the next look, so that only the last batches are partly empty.
    The order of the photos may therefore change.

    Parameters
    ----------
    photos : iterable of (position, photo)
        position : int; photo : ndarray [H, W, 3] uint8, or a str, the reason why it cannot be read.
    detector, rules
        As in ``detect_faces``.

    Returns
    -------
    iterator of lists of (position, photo, row)
        row : dict of str, a row of ``detect_faces``, and if a face was detected ``others``, ndarray [K, 5, 2]: the landmarks of
        the photo's other faces. Every photo occurs once.
    """
    looks = LOOKS if rules else LOOKS[:NUM_CLOSE_UPS]
    source, queues, running, is_over = iter(photos), [deque() for _ in looks], deque(), False
    with open_workers(detector.device) as pool:
        while True:
            if not is_over and len(queues[0]) < looks[0].num_photos:
                new = [(position, photo, []) for position, photo in islice(source, looks[0].num_photos)]
                queues[0].extend(new)
                is_over = len(new) < looks[0].num_photos
            k = _choose_queue(queues, looks, is_last=is_over and not running)
            if k is not None:
                tasks = [queues[k].popleft() for _ in range(min(looks[k].num_photos, len(queues[k])))]
                running.append((k, pool.submit(_look_at_tasks, tasks, k, detector, rules)))
            elif not running:
                return
            if running and (k is None or len(running) > MAX_WORKERS):
                k, future = running.popleft()
                done, failed = future.result()
                for next_look, task in failed:
                    queues[next_look].append(task)
                yield done


def _choose_queue(queues, looks, is_last):
    """Number of the look that comes next, or None: the latest that can fill a batch; ``is_last``: the first that has a photo."""
    full = [k for k, look in enumerate(looks) if len(queues[k]) >= look.num_photos]
    rest = [k for k, queue in enumerate(queues) if queue and is_last]
    return full[-1] if full else rest[0] if rest else None


def _look_at_tasks(tasks, k, detector, rules):
    """Look once, for the ``k``-th time, at tasks (position, photo, candidates of each look so far).

    Returns the finished photos as (position, photo, row), and the others as (number of the next look, task).
    """
    done = [(*task[:2], no_face(reason)) for task in tasks if (reason := _refuse_photo(task[1]))]
    tasks, failed = [task for task in tasks if not _refuse_photo(task[1])], []
    found = _look_at_sizes([photo for _, photo, _ in tasks], LOOKS[k], detector)
    tasks = [(position, photo, [*seen, new]) for (position, photo, seen), new in zip(tasks, found, strict=True)]
    if k < FIRST_LAST:
        mains = settle_faces([(photo, seen) for _, photo, seen in tasks], k in ALL_TURNS_SEEN, detector, rules)
    else:
        new = [(photo, sum(seen if k == FIRST_LAST else seen[-1:], [])) for _, photo, seen in tasks]
        mains = confirm_faces(new, detector, rules)
    pairs = [(photo, main) for (_, photo, _), main in zip(tasks, mains, strict=True)]
    pairs = [(photo, None if main and _may_be_scenery(main, photo, k, rules) else main) for photo, main in pairs]
    mains, closer = [main for _, main in pairs], refine_faces(pairs, detector, rules)
    for (position, photo, seen), main, close in zip(tasks, mains, closer, strict=True):
        next_look = _find_next_look(k, photo, rules)
        if main is not None or next_look is None:
            done.append((position, photo, describe_face(main, seen, rules, close) if main else describe_doubt(seen, rules)))
        else:
            failed.append((next_look, (position, photo, seen)))
    return done, failed


def _find_next_look(k, photo, rules):
    """Number of the look that follows the ``k``-th at a photo in which no face is settled, or None."""
    if k + 1 == NUM_USUAL and not is_blown_out(photo):
        k = FIRST_LAST - 1
    num_looks = NUM_CLOSE_UPS if not rules else len(LOOKS) if max(photo.shape) > LARGE else FIRST_LAST
    return k + 1 if k + 1 < num_looks else None


def _may_be_scenery(face, photo, k, rules):
    """Whether a face that is merely likely must wait until small faces have been looked for: in a large photo they are small, and
    something else may resemble a close-up."""
    return max(photo.shape) > LARGE and k < FIRST_WIDE and bool(rules) and face.probability < rules.upright_probability


def _look_at_sizes(photos, look, detector):
    """As ``look_at``, but at a small photo with ``SMALL_LOOK`` where that is smaller: a face of 32 px is large enough in it."""
    small = [look.long_side > SMALL_LOOK.long_side >= max(photo.shape) for photo in photos]
    found = {}
    for is_small in set(small):
        own = [photo for photo, size in zip(photos, small, strict=True) if size == is_small]
        smaller = SMALL_LOOK._replace(turns=look.turns, gamma=look.gamma)
        found[is_small] = iter(look_at(own, smaller if is_small else look, detector))
    return [next(found[is_small]) for is_small in small]


def _refuse_photo(photo):
    """Reason why no face is searched for in a photo: str, "" if there is none."""
    if isinstance(photo, str):
        return photo
    height, width = photo.shape[:2]
    return f"{width} x {height} px is too small for a face of {MIN_SIDE} px" if min(height, width) < MIN_SIDE else ""
