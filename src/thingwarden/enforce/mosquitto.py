"""Acts at a Mosquitto broker: a role of its own for each decision, which denies one login what it abuses.

In: ``mqtt_deny`` decisions. Out: receipts; what the broker itself lists as in force.
Must never: change a role, a group or a client that is not of our own making, beyond giving a client our role.
Source: mosquitto.org/documentation/dynamic-security.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from thingwarden.domain.errors import ConfigError, EnforcementError
from thingwarden.domain.response import ACTS_WITHIN, Access, Act, Capability, Decision, Reach, Receipt, ReceiptStatus
from thingwarden.enforce.broker import BrokerAddress, BrokerConsole

ROLE_PREFIX: Final = "thingwarden-deny-"

_PRIORITY: Final = 1_000_000
"""Above what an operator's roles have, since the first rule that matches decides."""

_DECISION_ID: Final = re.compile("[0-9a-f]{12}")
_EVERY_TOPIC: Final = "#"
_ACL_TYPES: Final = {
    Access.PUBLISH: ("publishClientSend",),
    Access.SUBSCRIBE: ("subscribePattern", "publishClientReceive"),
}
_GONE: Final = "not found"


class MosquittoEnforcer:
    """Denies logins by dynamic security.

    Args:
        address: of the broker.

    Raises:
        ConfigError: the extra ``mqtt`` is missing, or the address would show the password.
    """

    name = "mosquitto"
    lease_kind = "mosquitto"
    capability = Capability(reach=Reach.BROKER, acts=ACTS_WITHIN[Reach.BROKER], ends_by_itself=False)

    def __init__(self, address: BrokerAddress) -> None:
        self._address = address
        self._console = BrokerConsole(address)

    def apply(self, decision: Decision, now: datetime) -> Receipt:
        """Make the role and give it to the login in one message; the broker then drops its connection by itself."""
        if decision.act is Act.NOTIFY:
            return self._receipt(decision.decision_id, now, ReceiptStatus.APPLIED, "a notification needs no broker")
        username = decision.target.username
        if decision.act is not Act.MQTT_DENY or not username:
            detail = f"{decision.act.value} of {decision.target} is beyond a broker"
            return self._receipt(decision.decision_id, now, ReceiptStatus.FAILED, detail)
        role = ROLE_PREFIX + decision.decision_id
        commands: list[dict[str, Any]] = [
            {"command": "createRole", "rolename": role, "acls": deny_rules(decision)},
            {"command": "addClientRole", "username": username, "rolename": role, "priority": _PRIORITY},
        ]
        if decision.replaces is not None:
            commands.append({"command": "deleteRole", "rolename": ROLE_PREFIX + decision.replaces})
        try:
            made, given, *_ = self._console.command(commands)
            problem = given.get("error") or made.get("error")
            if problem and "already" not in problem:
                self._console.command([{"command": "deleteRole", "rolename": role}])
                detail = f"nothing changed; the broker says: {problem}"
                return self._receipt(decision.decision_id, now, ReceiptStatus.FAILED, detail)
        except (EnforcementError, ConfigError) as error:
            return self._receipt(decision.decision_id, now, ReceiptStatus.FAILED, str(error).splitlines()[0])
        detail = f"role {role} given to the login at {self._console.name}"
        return self._receipt(decision.decision_id, now, ReceiptStatus.APPLIED, detail)

    def revoke(self, decision: Decision, now: datetime) -> Receipt:
        """Delete its own role."""
        try:
            self._delete([decision.decision_id])
        except (EnforcementError, ConfigError) as error:
            return self._receipt(decision.decision_id, now, ReceiptStatus.FAILED, str(error).splitlines()[0])
        return self._receipt(decision.decision_id, now, ReceiptStatus.REVOKED, "its role is deleted")

    def in_force(self, now: datetime) -> tuple[Receipt, ...]:
        """The roles of ours that the broker lists.

        Raises:
            EnforcementError: it cannot be asked.
        """
        try:
            held = self._held()
        except ConfigError as error:
            raise EnforcementError(error.what, error.why, error.hint) from error
        return tuple(
            self._receipt(decision_id, now, ReceiptStatus.APPLIED, f"listed by {self._console.name}")
            for decision_id in held
        )

    def release_all(self, now: datetime) -> tuple[Receipt, ...]:
        """Delete every role of ours, whoever made it."""
        try:
            held = self._held()
            self._delete(held)
        except (EnforcementError, ConfigError) as error:
            return (self._receipt("", now, ReceiptStatus.FAILED, str(error).splitlines()[0]),)
        return tuple(self._receipt(item, now, ReceiptStatus.REVOKED, "its role is deleted") for item in held)

    def lease_values(self, decision: Decision) -> dict[str, Any]:
        """What ``undo`` needs."""
        certificates = self._address.certificates
        return {
            "host": self._address.host,
            "port": self._address.port,
            "credentials": str(self._address.credentials),
            "certificates": None if certificates is None else str(certificates),
        }

    def forget(self, decision_id: str) -> None:
        """The broker itself is asked what is in force, so there is nothing to forget."""

    def close(self) -> None:
        """Leave the broker; what is in force stays."""
        self._console.close()

    def _held(self) -> list[str]:
        (answer,) = self._console.command([{"command": "listRoles", "verbose": False, "count": -1, "offset": 0}])
        if "error" in answer:
            raise EnforcementError(f"broker {self._console.name}", str(answer["error"]), "may we administer it?")
        roles = answer.get("data", {}).get("roles", [])
        names = (role for role in roles if isinstance(role, str) and role.startswith(ROLE_PREFIX))
        return [name for role in names if _DECISION_ID.fullmatch(name := role.removeprefix(ROLE_PREFIX))]

    def _delete(self, decision_ids: Collection[str]) -> None:
        commands = [{"command": "deleteRole", "rolename": ROLE_PREFIX + item} for item in decision_ids]
        for answer in self._console.command(commands) if commands else ():
            problem = str(answer.get("error", ""))
            if problem and _GONE not in problem:
                raise EnforcementError(f"broker {self._console.name}", problem, "its role may still be in force")

    def _receipt(self, decision_id: str, now: datetime, status: ReceiptStatus, detail: str) -> Receipt:
        return Receipt(decision_id=decision_id, enforcer=self.name, status=status, at=now, detail=detail)


def deny_rules(decision: Decision) -> list[dict[str, Any]]:
    """What a decision denies, as dynamic security's access rules; a denied connection may do nothing."""
    target = decision.target
    topic = target.topic_filter or _EVERY_TOPIC
    is_whole = target.access in (None, Access.CONNECT)
    accesses = tuple(_ACL_TYPES) if target.access is None or is_whole else (target.access,)
    return [
        {
            "acltype": acl_type,
            "topic": _EVERY_TOPIC if target.access is Access.CONNECT else topic,
            "allow": False,
            "priority": _PRIORITY,
        }
        for access in accesses
        for acl_type in _ACL_TYPES[access]
    ]


def build_enforcer(options: Mapping[str, Any], _held: Collection[str]) -> MosquittoEnforcer:
    """The enforcer by its process's options.

    Raises:
        ConfigError: an option is refused.
    """
    return MosquittoEnforcer(_address(options))


def undo(lease: dict[str, Any]) -> None:
    """Delete the role of a lease, in a process that knows nothing else.

    Raises:
        EnforcementError: the broker did not confirm it.
        ConfigError: the lease is damaged, or the credentials cannot be read.
    """
    decision_id = str(lease.get("lease_id"))
    if not _DECISION_ID.fullmatch(decision_id):
        raise ConfigError(f"lease {decision_id[:40]!r}", "it names no decision", "undo its act by hand")
    enforcer = MosquittoEnforcer(_address(lease))
    try:
        enforcer._delete([decision_id])
    finally:
        enforcer.close()


def _address(values: Mapping[str, Any]) -> BrokerAddress:
    try:
        certificates = values.get("certificates")
        return BrokerAddress(
            host=str(values["host"]),
            port=int(values["port"]),
            credentials=Path(str(values["credentials"])),
            certificates=None if certificates is None else Path(str(certificates)),
        )
    except (KeyError, ValueError) as error:
        raise ConfigError("the broker's options", f"{error} is missing or refused", "see docs/response.md") from error
