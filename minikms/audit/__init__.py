"""The audit log: one line for each call, and its verification."""
