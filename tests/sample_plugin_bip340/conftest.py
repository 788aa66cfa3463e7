"""Keep these tests out of the suite: tests/plugin/test_sample_plugins.py runs them, installed."""

collect_ignore = ["test_bip340.py"]
