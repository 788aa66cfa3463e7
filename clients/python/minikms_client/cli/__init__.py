"""The command `mkms`, which needs the extra `cli`."""
