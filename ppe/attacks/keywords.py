"""What attacks read: every attack is called with all that a run has, and a keyword that nobody gives is a mistake."""

import inspect

from ppe.attacks.rivals import BASELINES
from ppe.attacks.scores import ATTACKS
from ppe.attacks.white_box import SCORES as BY_MODEL

CONSTANTS = {"top_k", "concentration", "epsilon", "cohort_size", "snorm_top_k"}
"""What ``ppe.attacks.tuning.tune_constants`` gives."""
EMBEDDINGS = {"query_embeddings", "query_mirrored", "cohort_embeddings", "generated_embeddings", "calibration_embeddings"}


def list_needed(attack):
    """List the keywords that an attack reads and has no default for.

    Raises
    ------
    ValueError
        If it does not end in ``**unused``: every attack is called with all that there is.
    """
    parameters = inspect.signature(ATTACKS[attack]).parameters.values()
    if not any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters):
        raise ValueError(f"the attack {attack!r} does not ignore what it does not read: end its parameters with **unused")
    return [p.name for p in parameters if p.kind is p.KEYWORD_ONLY and p.default is p.empty]


def check_attacks():
    """Raise ValueError if an attack reads what none by embeddings is given, and is neither a baseline nor one on the model."""
    given = CONSTANTS | EMBEDDINGS
    for attack in set(ATTACKS) - {*BASELINES, *BY_MODEL}:
        if unknown := sorted(set(list_needed(attack)) - given):
            raise ValueError(
                f"the attack {attack!r} reads {unknown}, and {sorted(given)} are given: correct the name, or give it a default; "
                "an attack on pictures belongs into SCORES of ppe/attacks/appearance.py, its name into ppe/attacks/rivals.py"
            )
