"""Small modules that know nothing of keys, for all wings."""
