"""A host's name: one for each version of each model, whoever chose the models' names."""

from lastgood.control.routes import host_key


def test_a_hosts_name_cannot_be_made_to_collide():
    """Two model names that agree in 32 bits of their digest, found by a short search, have two hosts."""
    one, other = "m55999", "m124372"
    assert host_key(one, 1) != host_key(other, 1)


def test_a_hosts_name_is_long_enough_against_a_search_and_short_enough_for_a_file():
    """At least 64 bits tell models apart, the number is readable, and length does not follow the model's name."""
    key = host_key("churn" * 60, 12)
    assert key.startswith("v12-")
    assert len(bytes.fromhex(key.removeprefix("v12-"))) >= 8
    assert len(key) < 64
    assert host_key("churn", 1) == host_key("churn", 1) != host_key("churn", 2)
