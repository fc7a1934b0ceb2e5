"""The broker's administrator: whose password stays where it is."""

from __future__ import annotations

from pathlib import Path

import pytest

from broker_builder import running_broker
from thingwarden.domain.errors import ConfigError, EnforcementError
from thingwarden.enforce.broker import BrokerAddress, BrokerConsole, read_credentials


def _credentials(folder: Path, text: str, mode: int = 0o600) -> Path:
    path = folder / "credentials"
    path.write_text(text)
    path.chmod(mode)
    return path


@pytest.mark.parametrize(
    ("text", "mode", "why"), [("a\nb\n", 0o644, "others"), ("a\n", 0o600, "two lines"), ("a\n\n", 0o600, "two lines")]
)
def test_credentials_that_are_not_to_be_trusted_are_refused(tmp_path: Path, text: str, mode: int, why: str) -> None:
    with pytest.raises(ConfigError, match=why):
        read_credentials(_credentials(tmp_path, text, mode))


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="nowhere"):
        read_credentials(tmp_path / "nowhere")


def test_no_password_goes_over_an_open_network(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="TLS"):
        BrokerConsole(BrokerAddress(host="broker.example", port=1883, credentials=tmp_path))


def test_a_wrong_password_is_said(tmp_path: Path) -> None:
    with running_broker(tmp_path) as address:
        wrong = _credentials(tmp_path, "admin\nwrong\n")
        console = BrokerConsole(BrokerAddress(host=address.host, port=address.port, credentials=wrong))
        with pytest.raises(EnforcementError, match="refused us"):
            console.command([{"command": "listRoles"}])
