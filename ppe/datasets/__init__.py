"""Face data sets: their photos, identities and splits. A new data set is a few lines in params.yaml."""
