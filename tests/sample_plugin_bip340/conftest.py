"""Keeps these tests out of the service's own run: tests/plugin/test_plugins.py runs them where the
plugin is installed.
"""

collect_ignore = ["test_bip340.py"]
