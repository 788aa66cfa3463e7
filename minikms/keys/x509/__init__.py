"""Certificates and certificate requests."""
