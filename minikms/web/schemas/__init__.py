"""The only description of bodies."""
