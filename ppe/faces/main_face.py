"""Which of the detector's candidates is the face of a photo: its probability, its landmarks, and which way up it is.

A candidate is a ``ppe.faces.detector.Candidate``.
"""

import numpy as np

from ppe.faces.alignment import LANDMARK_COLUMNS, measure_misfit
from ppe.faces.confirmation import keep_confirmed
from ppe.faces.detector import LARGE, measure_turns

BOX_COLUMNS = ["box_left", "box_top", "box_right", "box_bottom"]
MIN_ADVANTAGE = 1.0
"""By how much the logarithm of the odds of a turned face must exceed that of an upright one to be preferred. In 120 turned photos
of LFW the right turn leads by 1.3 or more, in 119 of them by 3.0; a wrong turn of an upright synthetic photo by at most 3.4."""
SAME_FACE = 0.4
"""Intersection over union from which the boxes of two looks are the same face."""
NEARLY_AS_WIDE, NEARLY_AS_WIDE_IF_LARGE = 0.55, 2 / 3
"""Faces at least this share of the widest one's width are candidates for the main face; smaller ones are bystanders. In a large
photo faces are small and their boxes inexact: of two of which one was twice as wide, the other's box had 0.50 to 0.62 of its
width."""


def settle_faces(photos, all_turns, detector, rules):
    """The main face of each photo (pixels, candidates of each look), if its looks so far settle it: list of Candidate or None.

    A face is settled if it is sure; if it is less sure, and the last network prefers it as it stands; or if it is likely, and
    ``all_turns`` is true: the photo has been seen in all of them. rules, detector : as in ``ppe.faces.detection.detect_faces``.
    """
    if all_turns and rules:
        faces = [[face for look in seen for face in look] for _, seen in photos]
        able = [[face for face in own if not find_doubt(face, _find_least(face, rules), rules)] for own in faces]
        able = [_drop_wrong_turn(photo, faces, detector) for (photo, _), faces in zip(photos, able, strict=True)]
        able = [_drop_scenery(photo, faces, detector, rules) for (photo, _), faces in zip(photos, able, strict=True)]
        return [choose_face(photo, faces) for (photo, _), faces in zip(photos, able, strict=True)]
    mains = [choose_face(photo, [face for face in seen[-1] if not find_doubt(face, 0, rules)]) for photo, seen in photos]
    if not rules:
        return mains
    settled = [main if main and main.probability >= rules.sure_probability else None for main in mains]
    open_ones = [i for i, main in enumerate(mains) if main and not settled[i] and main.probability >= rules.upright_probability]
    odds = measure_turns([(photos[i][0], mains[i]) for i in open_ones], detector)
    for i, (upright, *others) in zip(open_ones, odds, strict=True):
        settled[i] = mains[i] if max(others) < upright + MIN_ADVANTAGE else None
    return settled


def _find_least(face, rules):
    """Least probability at which a candidate counts. Photos are seldom turned, so a turned face must be likelier: with one bound
    for all, one picture of 70 without a face gave one, nearly all of them turned. So must a face in a darkened photo: with one
    bound, two of 150 brightened pictures without a face gave one."""
    return (rules.upright_probability if face.turn or face.is_darkened else rules.min_probability) if rules else 0


def find_doubt(face, min_probability, rules):
    """Reason why a candidate is not taken for a face: str, "" if it is."""
    if np.ptp(face.points[2:], axis=0).min() < 2:
        return "a face was found, but its landmarks coincide"
    if rules and measure_misfit(face.points[2:]) > rules.max_misfit:
        return "no sure face: its landmarks differ from a face's by more than max_misfit"
    how = "turned" if face.turn else "in a darkened photo"
    bound = f"below upright_probability, and it is {how}" if face.turn or face.is_darkened else "below min_probability"
    return f"no sure face: its probability is {bound}" if face.probability < min_probability else ""


def confirm_faces(photos, detector, rules):
    """The main face of each photo among those that closer looks confirm: list of Candidate or None.

    photos : list of (ndarray [H, W, 3] uint8, list of Candidate). detector, rules : as in ``ppe.faces.detection.detect_faces``.
    """
    able = [(photo, [face for face in own if not find_doubt(face, rules.min_probability, rules)]) for photo, own in photos]
    return [choose_face(photo, keep_confirmed(photo, faces, detector, rules)) for photo, faces in able]


def _drop_scenery(photo, candidates, detector, rules):
    """In a large photo that shows a face that is nearly sure, drop the less likely ones, unless closer looks confirm them:
    scenery may resemble a face. Those of the likeliest turn are left."""
    candidates = _keep_turn(candidates)
    nearly_sure = [face for face in candidates if face.probability >= rules.upright_probability]
    if max(photo.shape) <= LARGE or not nearly_sure:
        return candidates
    others = [face for face in candidates if face.probability < rules.upright_probability]
    return nearly_sure + keep_confirmed(photo, others, detector, rules)


def choose_face(photo, candidates):
    """The main face: in the likeliest turn, of those nearly as wide as the widest, a large one near the middle. Or None."""
    candidates = _keep_turn(candidates)
    if not candidates:
        return None
    widest = max(face.area for face in candidates)
    share = NEARLY_AS_WIDE_IF_LARGE if max(photo.shape) > LARGE else NEARLY_AS_WIDE
    large = [face for face in candidates if face.area >= share**2 * widest]
    return max(large, key=lambda face: face.area - 2 * face.off_centre)  # the weights of facenet-pytorch


def _keep_turn(candidates):
    """The candidates in the likeliest turn, but the upright ones where another is hardly likelier."""
    if not candidates:
        return []
    likeliest = max(candidates, key=lambda face: face.probability)
    turn = 0 if likeliest.turn and _compare_turns(candidates) < MIN_ADVANTAGE else likeliest.turn
    return [face for face in candidates if face.turn == turn]


def _compare_turns(candidates):
    """Difference of the log odds of the likeliest turned and the likeliest upright face; -inf or inf where one is missing."""
    upright, turned = (max((face.log_odds for face in candidates if (face.turn > 0) == side), default=-np.inf) for side in (0, 1))
    return turned - upright if max(upright, turned) > -np.inf else -np.inf


def _drop_wrong_turn(photo, candidates, detector):
    """Candidates without the upright ones, or without the turned, where both are likely: the last network decides at both."""
    if not MIN_ADVANTAGE <= _compare_turns(candidates) < np.inf:
        return candidates
    best = [max((face for face in candidates if (face.turn > 0) == side), key=lambda face: face.log_odds) for side in (0, 1)]
    upright, turned = measure_turns([(photo, face) for face in best], detector)
    turn = best[1].turn
    lead = upright[turn] - upright[0] + turned[0] - turned[4 - turn]
    return [face for face in candidates if (face.turn > 0) == (lead >= MIN_ADVANTAGE)]


def describe_face(main, seen, rules, closer=None):
    """Row of a photo's main face, with the landmarks of the others, ndarray [K, 5, 2].

    Where an earlier look saw the same face, its landmarks stay: a later look only confirms. Those of a closer look, if there was
    one, take their place.
    """
    least = rules.min_probability if rules else 0
    kept = []
    for face in (face for look in seen for face in look if face.turn == main.turn and not find_doubt(face, 0, rules)):
        if not any(measure_overlap(face, other) >= SAME_FACE for other in kept) and (face.probability >= least or face is main):
            kept.append(face)
    seen_first = (face for look in seen for face in look if face.turn == main.turn and measure_overlap(face, main) >= SAME_FACE)
    first = closer or next(seen_first)
    # Sixteenths of a pixel are finer than the detector, coarser than rounding errors, and exact in a table.
    points = np.round(first.points * 16) / 16
    box = np.concatenate([points[:2].min(0), points[:2].max(0)])
    others = [face.points[2:] for face in kept if measure_overlap(face, main) < SAME_FACE]
    row = {"detected": True, "reason": "", "num_faces": 1 + len(others), "probability": main.probability, "turned": main.turn}
    row |= dict(zip(BOX_COLUMNS + LANDMARK_COLUMNS, [*box.tolist(), *points[2:].ravel().tolist()], strict=True))
    return row | {"others": np.round(np.reshape(others, (-1, 5, 2)) * 16) / 16}


def measure_overlap(one, other):
    """Intersection of two boxes over their union, in [0, 1]."""
    (a, b), (c, d) = ((np.minimum(*face.points[:2]), np.maximum(*face.points[:2])) for face in (one, other))
    shared = np.prod(np.clip(np.minimum(b, d) - np.maximum(a, c), 0, None))
    return shared / (np.prod(b - a) + np.prod(d - c) - shared)


def describe_doubt(seen, rules):
    """Row of a photo in which no look found a face that counts: the reason is that of the likeliest candidate."""
    candidates = [candidate for look in seen for candidate in look]
    if not candidates:
        return no_face("no face found")
    likeliest = max(candidates, key=lambda candidate: candidate.probability)
    reason = find_doubt(likeliest, _find_least(likeliest, rules), rules)
    reason = reason or "no sure face: closer looks do not confirm it"
    return no_face(reason) | {"probability": likeliest.probability, "turned": likeliest.turn}


def no_face(reason):
    """Row of a photo without a detected face."""
    return {"detected": False, "reason": reason, "num_faces": 0, "probability": 0.0, "turned": 0}
