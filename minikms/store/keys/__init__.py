"""Keys in a store: their entries, aliases, deletions, rotations, listings and last uses."""
