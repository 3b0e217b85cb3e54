"""This Person Probably Exists: identity membership attacks on GANs that generate faces (arXiv 2107.06018)."""

import atexit
import gc
import sys

__version__ = "0.1.0"


def _leave_cycles():
    """Look for no reference cycles at a process's end: with torch imported that takes a second, and a study starts dozens."""
    if "triton" not in sys.modules:  # it would list on the terminal what is left
        gc.freeze()


atexit.register(_leave_cycles)
