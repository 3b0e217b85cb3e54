"""This Person Probably Exists: identity membership attacks on GANs that generate faces (arXiv 2107.06018)."""

__version__ = "0.1.0"
