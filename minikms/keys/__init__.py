"""Creates, manages and uses keys."""
