"""What runs: processes, their listener and their logs."""
