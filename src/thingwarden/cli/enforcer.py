"""``thingwarden enforcer``: become the small process that puts decisions into force, or the reaper; make a key.

In: the configuration. Out: this process, replaced by the one that was asked for.
Must never: keep anything of this program in memory beside the enforcer; replace a key.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import click

from thingwarden.cli.invocation import Invocation, common_options
from thingwarden.domain.errors import ConfigError

if TYPE_CHECKING:
    from thingwarden.config import Settings
    from thingwarden.enforce.settings import ProcessSettings


@click.command("enforcer")
@click.argument("kind", required=False)
@click.option("--reaper", is_flag=True, help="Be the reaper: undo acts whose lease has lapsed.")
@click.option("--new-key", type=click.Path(path_type=Path, dir_okay=False), help="Write a new key to FILE and end.")
@click.option("--show", is_flag=True, help="Show what the process would be told, and end.")
@common_options
@click.pass_obj
def enforcer(invocation: Invocation, kind: str | None, reaper: bool, new_key: Path | None, show: bool) -> None:
    """Run the enforcer of KIND (the first of enforce.kinds) as a small process of its own."""
    from thingwarden.config import lease_folder
    from thingwarden.enforce.key import make_key
    from thingwarden.enforce.settings import encode_settings

    if new_key is not None:
        make_key(new_key)
        invocation.remark(f"{new_key} holds a new key; give it to core and enforcers, and to nobody else")
        return
    settings = invocation.loaded.settings
    if reaper:
        _become("thingwarden.enforce.reaper", str(lease_folder(settings.enforce)))
    told = process_settings(settings, kind or next(iter(settings.enforce.kinds), ""))
    if show:
        click.echo(encode_settings(told))
        return
    _become("thingwarden.enforce", encode_settings(told))


def process_settings(settings: Settings, kind: str) -> ProcessSettings:
    """What the process of that kind is told.

    Raises:
        ConfigError: there is no such kind, it lacks a setting, or the core's user does not exist.
    """
    from ipaddress import ip_network

    from thingwarden.config import enforcer_socket, key_path, lease_folder, policy_settings
    from thingwarden.enforce.backend import find_backend
    from thingwarden.enforce.guard import Bounds
    from thingwarden.enforce.settings import ProcessSettings
    from thingwarden.enforce_section import StopRule

    find_backend(kind)
    chosen, policy = settings.enforce, policy_settings(settings)
    uid, gid = _user(chosen.core_user)
    return ProcessSettings(
        kind=kind,
        socket=enforcer_socket(chosen, kind),
        state=chosen.state_folder / kind,
        leases=lease_folder(chosen),
        key=key_path(settings),
        core_uid=uid,
        core_gid=gid,
        releases_on_stop=chosen.on_stop is StopRule.RELEASE,
        protected_networks=(
            *policy.allowed_networks,
            *(ip_network(address) for address in sorted(policy.protected_addresses, key=str)),
        ),
        protected_macs=tuple(sorted(policy.protected_macs | policy.allowed_macs | policy.allowed_vendors)),
        automatic=Bounds(
            devices=chosen.max_devices_count,
            peers=chosen.max_peers_count,
            decisions_per_minute=chosen.max_decisions_per_minute,
        ),
        approved=Bounds(
            devices=chosen.max_approved_devices_count,
            peers=chosen.max_approved_peers_count,
            decisions_per_minute=chosen.max_approved_per_minute,
        ),
        options=_options(settings, kind),
    )


def _options(settings: Settings, kind: str) -> dict[str, Any]:
    """What the enforcer of that kind is told beyond what all are."""
    from thingwarden.config import policy_settings

    chosen = settings.enforce
    if kind == "nftables":
        policy = policy_settings(settings)
        spared = [*map(str, policy.allowed_networks), *map(str, policy.protected_addresses)]
        return {"reach": chosen.reach.value, "spared": sorted(spared)}
    if kind == "mosquitto":
        if chosen.mqtt_credentials is None:
            raise ConfigError("enforce.mqtt_credentials", "not set", "the kind mosquitto needs it")
        certificates = chosen.mqtt_certificates
        return {
            "host": chosen.mqtt_host,
            "port": chosen.mqtt_port,
            "credentials": str(chosen.mqtt_credentials),
            "certificates": None if certificates is None else str(certificates),
        }
    if kind != "webhook":
        return {}
    if chosen.webhook_url is None or chosen.webhook_secret is None:
        raise ConfigError("enforce.webhook_url and enforce.webhook_secret", "not set", "the kind webhook needs both")
    certificates = chosen.webhook_certificates
    return {
        "url": chosen.webhook_url,
        "secret": str(chosen.webhook_secret),
        "certificates": None if certificates is None else str(certificates),
        "acts": [act.value for act in chosen.webhook_acts],
        "may_be_plain": chosen.webhook_may_be_plain,
    }


def _user(name: str | None) -> tuple[int | None, int | None]:
    import pwd

    if name is None:
        return None, None
    try:
        user = pwd.getpwnam(name)
    except KeyError as error:
        raise ConfigError(f"enforce.core_user = {name!r}", "there is no such user", "adduser --system") from error
    return user.pw_uid, user.pw_gid


def _become(module: str, argument: str) -> NoReturn:
    """Replace this program, with all that it has loaded, by a small one that imports nothing from its folder."""
    sys.stdout.flush()
    os.execv(sys.executable, [sys.executable, "-P", "-m", module, argument])  # noqa: S606 - no shell is wanted
