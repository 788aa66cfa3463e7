"""A door for EUDIPLO: the contract of its adapter for remote key services."""
