"""The four claims of Webster et al. (arXiv 2107.06018): evidence, verdicts and the tables of all studies."""
