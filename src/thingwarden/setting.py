"""What a single setting may be: the kinds of values, how they are read from text, how they are told to people.

In: a TOML file and its values. Out: addresses, networks, acts and paths, or the reason why not.
Must never: guess what a wrong value meant.
"""

from __future__ import annotations

import ipaddress
import re
import tomllib
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Annotated, Any, Final

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from thingwarden.domain.address import IpAddress, IpNetwork
from thingwarden.domain.errors import ConfigError
from thingwarden.domain.response import Act

MAX_FILE_BYTES: Final = 1 << 20
"""A configuration or a policy has some fifty lines; a file beyond 1 MiB is something else."""

_MAC: Final = re.compile(r"[0-9A-Fa-f]{2}(:[0-9A-Fa-f]{2}){5}")


def _network(value: object) -> object:
    if isinstance(value, ipaddress.IPv4Network | ipaddress.IPv6Network):
        return value
    if not isinstance(value, str):
        raise ValueError("a network is written as text")
    return ipaddress.ip_network(value)


def _address(value: object) -> object:
    if isinstance(value, ipaddress.IPv4Address | ipaddress.IPv6Address):
        return value
    if not isinstance(value, str):
        raise ValueError("an address is written as text")
    return ipaddress.ip_address(value)


def is_mac(text: str) -> bool:
    """Whether it is a MAC, and no address: some IPv6 addresses look alike."""
    return _MAC.fullmatch(text) is not None


def _mac(value: object) -> object:
    if not isinstance(value, str) or not is_mac(value):
        raise ValueError("a MAC is written as six hexadecimal pairs with colons")
    return value.lower()


def _device_name(value: object) -> object:
    if isinstance(value, str) and is_mac(value):
        return value.lower()
    return str(_address(value))


def read_act(value: object) -> object:
    """The act of that name; anything else as it is."""
    return Act(value) if isinstance(value, str) else value


def _path(value: object) -> object:
    return Path(value).expanduser() if isinstance(value, str) and value else value


def member_of(kind: type[Enum]) -> BeforeValidator:
    """Reads a name as the member of an enumeration; anything else stays as it is."""
    return BeforeValidator(lambda value: kind(value) if isinstance(value, str) else value)


def read_tuple(value: object) -> object:
    """A list of the file as a tuple; anything else as it is."""
    return tuple(value) if isinstance(value, list) else value


Network = Annotated[IpNetwork, BeforeValidator(_network)]
Address = Annotated[IpAddress, BeforeValidator(_address)]
Mac = Annotated[str, BeforeValidator(_mac)]
DeviceName = Annotated[str, BeforeValidator(_device_name)]
FilePath = Annotated[Path, BeforeValidator(_path)]
Acts = Annotated[tuple[Annotated[Act, BeforeValidator(read_act)], ...], BeforeValidator(read_tuple)]
FilePaths = Annotated[tuple[FilePath, ...], BeforeValidator(read_tuple)]
Networks = Annotated[tuple[Network, ...], BeforeValidator(read_tuple)]
Addresses = Annotated[tuple[Address, ...], BeforeValidator(read_tuple)]
Macs = Annotated[tuple[Mac, ...], BeforeValidator(read_tuple)]
DeviceNames = Annotated[tuple[DeviceName, ...], BeforeValidator(read_tuple)]

NETWORKS_ALLOWED: Final = 'list of networks such as "192.168.1.0/24" or "fd00::/8", or of single addresses'
ADDRESSES_ALLOWED: Final = 'list of addresses such as "192.168.1.1" or "fd00::1"'
MACS_ALLOWED: Final = 'list of MACs such as "02:00:5e:10:00:01"'
DEVICES_ALLOWED: Final = "list of devices, each by its address or its MAC"
ACTS_ALLOWED: Final = f"one of {', '.join(act.value for act in Act)}"


def setting(default: Any, description: str, allowed: str, **bounds: Any) -> Any:
    """A field whose meaning and range are said in words, for errors and for the written default."""
    return Field(
        default, description=description, json_schema_extra={"allowed": allowed}, validate_default=True, **bounds
    )


class Section(BaseModel):
    """The settings of one stage: frozen, strict, without unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One thing wrong with a file.

    Attributes:
        key: the full name, such as ``detect.idle_s`` or ``device.1.role``.
        value: what the file says, as text; empty where nothing can be shown.
        why: what is wrong with it.
        allowed: what would be right; empty where unknown.
    """

    key: str
    value: str
    why: str
    allowed: str


def read_toml(file: Path, what: str, hint: str) -> dict[str, Any]:
    """A TOML file of bounded length.

    Args:
        file: its path.
        what: the kind of file, for the error.
        hint: where to see a right one, for the error.

    Raises:
        ConfigError: it cannot be read, is too large, or is not TOML.
    """
    try:
        with file.open("rb") as stream:
            text = stream.read(MAX_FILE_BYTES + 1)
        if len(text) > MAX_FILE_BYTES:
            raise ConfigError(f"{what} {file}", f"larger than {MAX_FILE_BYTES} bytes", "is it the right file?")
        return tomllib.loads(text.decode("utf-8"))
    except OSError as error:
        raise ConfigError(f"{what} {file}", error.strerror or str(error), "check path and permission") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ConfigError(f"{what} {file}", f"not valid TOML: {error}", hint) from error
