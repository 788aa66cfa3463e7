"""The garbage collector while the service starts."""

import gc

import pytest

from minikms.serve import garbage


def fail_to_start():
    with garbage.growing():
        assert not gc.isenabled()
        raise OSError("nothing")


def test_garbage_is_collected_again_after_a_start_that_failed():
    with pytest.raises(OSError, match="nothing"):
        fail_to_start()
    assert gc.isenabled()
