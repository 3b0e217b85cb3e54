"""Training of a generator and its discriminator, with the parts that every model shares."""
