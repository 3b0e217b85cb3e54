"""From scores to rows: membership, sensitivity, leakage over training, and the runs of a study side by side."""
