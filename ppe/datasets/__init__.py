"""Face data sets: which photos there are, who is in them, and how identities are split; one data set is a few lines in params.yaml."""
