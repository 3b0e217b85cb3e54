"""One over-represented identity: the experiments, what they measure, and the density scan."""
