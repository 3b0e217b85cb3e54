"""What the owner of a generator does before faces are published."""
