"""What an operator may set about enforcement: the section ``[enforce]`` of the configuration.

In: values of a TOML file. Out: ``EnforceSettings``.
Must never: open a file that it names.
"""

from __future__ import annotations

from enum import Enum
from typing import Annotated, Any, Final

from pydantic import BeforeValidator

from thingwarden.domain.response import ACTS_WITHIN, Act, Reach
from thingwarden.enforce.backend import ENFORCER_KINDS
from thingwarden.setting import ACTS_ALLOWED, Acts, FilePath, Section, member_of, read_tuple, setting


def _backend_kind(value: object) -> object:
    if value not in ENFORCER_KINDS:
        raise ValueError(f"there is no enforcer of kind {value!r}")
    return value


EnforcerKinds = Annotated[tuple[Annotated[str, BeforeValidator(_backend_kind)], ...], BeforeValidator(read_tuple)]


class EnforcerKind(Enum):
    """Who puts decisions into force; the value is what the file says."""

    DRY_RUN = "dry-run"
    SOCKET = "socket"


FIREWALL_REACHES: Final = (Reach.GATEWAY, Reach.BRIDGE, Reach.HOST, Reach.MIRROR)


def _reach(value: object) -> object:
    return next((reach for reach in FIREWALL_REACHES if reach.value == value), value)


class StopRule(Enum):
    """What becomes of acts in force when their enforcer is stopped; the value is what the file says."""

    KEEP = "keep"
    RELEASE = "release"


def _bound(default: int, description: str) -> Any:
    return setting(default, description, "whole number, 0 to 10000", ge=0, le=10_000)


class EnforceSettings(Section):
    """How decisions reach those who put them into force."""

    by: Annotated[EnforcerKind, member_of(EnforcerKind)] = setting(
        "dry-run",
        "Who puts decisions into force: nobody, the dry run says what would be done; or the enforcer's own process.",
        f"one of {', '.join(item.value for item in EnforcerKind)}",
    )
    kinds: EnforcerKinds = setting(
        ["dry-run"],
        "Enforcers' processes that are asked, in order; an act goes to the first that is able to.",
        f"list of {', '.join(ENFORCER_KINDS)}",
    )
    reach: Annotated[Reach, BeforeValidator(_reach)] = setting(
        "gateway",
        "Where this machine stands, for the kind nftables: it sees what is routed (gateway, host), also what is "
        "bridged (bridge), or copies that nothing can be cut from (mirror).",
        f"one of {', '.join(reach.value for reach in FIREWALL_REACHES)}",
    )
    run_folder: FilePath = setting(
        "/run/thingwarden", "Where each process listens, at KIND.sock.", "path of a folder that others cannot write"
    )
    state_folder: FilePath = setting(
        "/var/lib/thingwarden/enforcers",
        "Where each process remembers what it holds, and the leases that the reaper ends.",
        "path of a folder",
    )
    answer_within_ms: int = setting(
        50, "The longest that the core waits for an act's receipt.", "whole number, 5 to 10000", ge=5, le=10_000
    )
    key: FilePath | None = setting(
        None,
        "The key that decisions are signed with, made on first use; unset means a file named key beside the journal.",
        "path of a file of 32 bytes that others cannot read",
    )
    core_user: str | None = setting(
        None,
        "User who may give orders to the processes, besides root and the one they run as.",
        "name of a user of this machine",
    )
    on_stop: Annotated[StopRule, member_of(StopRule)] = setting(
        "keep",
        "What a process does with the acts in force when it is stopped: keep them until they end, or release them.",
        f"one of {', '.join(item.value for item in StopRule)}",
    )
    max_devices_count: int = _bound(10, "Devices under automatic acts at once, whatever policy says.")
    max_peers_count: int = _bound(40, "Peers and domains cut off at once by automatic acts, whatever policy says.")
    max_decisions_per_minute: int = _bound(60, "Automatic acts in any 60 seconds, whatever policy says.")
    max_approved_devices_count: int = _bound(100, "The same for devices under acts that a person approved.")
    max_approved_peers_count: int = _bound(
        400, "The same for peers and domains cut off by acts that a person approved."
    )
    max_approved_per_minute: int = _bound(120, "The same for acts that a person approved.")
    webhook_url: str | None = setting(
        None, "Who is told of each act, for the kind webhook.", "address such as https://gateway.example/thingwarden"
    )
    webhook_secret: FilePath | None = setting(
        None, "The key that these messages are signed with.", "path of a file of 32 bytes that others cannot read"
    )
    webhook_certificates: FilePath | None = setting(
        None, "Authorities that may sign the receiver's certificate; unset means the system's.", "path of a PEM file"
    )
    webhook_acts: Acts = setting(
        [act.value for act in Act if act in ACTS_WITHIN[Reach.REMOTE]],
        "What the receiver can put into force.",
        f"list of acts, each {ACTS_ALLOWED}",
    )
    webhook_may_be_plain: bool = setting(
        False,
        "Whether http to another machine is allowed, where anybody on the way reads and changes it.",
        "true, false",
    )
    mqtt_host: str = setting(
        "localhost", "The broker's machine, for the kind mosquitto.", "name or address of a machine"
    )
    mqtt_port: int = setting(1883, "Its port.", "whole number, 1 to 65535", ge=1, le=65_535)
    mqtt_credentials: FilePath | None = setting(
        None,
        "The broker's administrator: name in the first line, password in the second.",
        "path of a file that others cannot read",
    )
    mqtt_certificates: FilePath | None = setting(
        None,
        "Authorities that may sign the broker's certificate; unset means no TLS, allowed on this machine alone.",
        "path of a PEM file",
    )
