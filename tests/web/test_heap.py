"""The garbage collector while the service starts."""

import gc

import pytest

from minikms.web.http import heap


def test_garbage_is_collected_again_after_a_start_that_failed():
    with pytest.raises(OSError, match="nothing"), heap.growing():
        assert not gc.isenabled()
        raise OSError("nothing")
    assert gc.isenabled()
