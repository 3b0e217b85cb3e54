"""This Person Probably Exists: identity membership attacks on GANs that generate faces (arXiv 2107.06018)."""

import atexit
import gc

__version__ = "0.1.0"

# A process that has imported torch ends a second sooner if it looks for no reference cycles at its end; a study starts dozens.
atexit.register(gc.freeze)
