"""The running service: its processes, listeners and logs."""
