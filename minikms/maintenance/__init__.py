"""A store inspected, copied and verified."""
