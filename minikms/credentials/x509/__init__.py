"""Certificates, certificate requests and revocation lists."""
