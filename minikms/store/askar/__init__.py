"""Askar's stores: their location, files, schema and layout, and sessions on them."""
