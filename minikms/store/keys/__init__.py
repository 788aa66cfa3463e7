"""Keys in a store: their entries, aliases, listing, rotation and last use."""
