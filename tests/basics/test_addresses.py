"""Addresses, and the network of one caller."""

import pytest

from minikms.basics.addresses import network_of


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("::ffff:192.0.2.2", "192.0.2.2"),
        ("2001:db8::1", "2001:db8::/64"),
        ("2001:db8::ffff:1", "2001:db8::/64"),
        ("not an address", "not an address"),
    ],
)
def test_addresses_of_one_caller_share_a_network(address, network):
    assert network_of(address) == network
