"""Providers of keys, such as HSMs: opened, called in threads of their own."""
