"""Every figure; nothing is computed here but layout."""
