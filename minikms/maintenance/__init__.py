"""Maintenance of stores: inspect, copy and verify."""
