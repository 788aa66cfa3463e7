"""The built-in algorithms, one file a family; each class is an entry point in setup.cfg."""
