"""The measurement runs where the firewall is nobody's, or not at all."""

from __future__ import annotations

import pytest

from network_builder import own_network, run
from thingwarden.bench.enforcement_program import main
from thingwarden.domain.errors import ConfigError


@pytest.mark.root
def test_a_network_with_anything_in_it_is_left_alone() -> None:
    with own_network():
        run("ip", "link", "add", "lan", "type", "bridge")
        with pytest.raises(ConfigError, match="own network"):
            main(1, 1)
        assert run("nft", "list", "ruleset") == ""


@pytest.mark.root
def test_every_act_is_timed_and_nothing_is_left() -> None:
    with own_network():
        found = main(3, 2)
        assert found["held_count"] == 3
        assert all(span > 0 for span in found["first_us"].values())
        assert run("nft", "list", "ruleset") == ""
