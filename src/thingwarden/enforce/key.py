"""The file that holds the key which policy and the enforcers share.

In: its path. Out: 32 bytes, made by the system's random source.
Must never: use a key that others could read or choose; replace one; import beyond the standard library.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from pathlib import Path
from typing import Final

from thingwarden.domain.errors import ConfigError
from thingwarden.domain.order import KEY_BYTES

_OTHERS: Final = stat.S_IWGRP | stat.S_IXGRP | stat.S_IRWXO
"""Rights that would let others read the key, or a group replace it; a group may read it (0640)."""


def read_key(path: Path) -> bytes:
    """The key.

    Raises:
        ConfigError: missing, of another length, no plain file, somebody else's, or open to others.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        why = "it is a link" if error.errno == errno.ELOOP else error.strerror or str(error)
        raise ConfigError(f"key {path}", why, f"make one with: thingwarden enforcer --new-key {path}") from error
    with os.fdopen(descriptor, "rb") as file:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise ConfigError(f"key {path}", "it is no plain file")
        if status.st_uid not in (0, os.geteuid()):
            raise ConfigError(f"key {path}", f"it belongs to user {status.st_uid}", "who owns it could choose it")
        if status.st_mode & _OTHERS:
            mode = stat.S_IMODE(status.st_mode)
            raise ConfigError(f"key {path}", f"its mode {mode:04o} lets others in", f"chmod 600 {path}, or 640")
        key = file.read(KEY_BYTES + 1)
    if len(key) != KEY_BYTES:
        raise ConfigError(f"key {path}", f"it does not hold {KEY_BYTES} bytes", "it is cut off, or another file")
    return key


def make_key(path: Path) -> bytes:
    """Write a new key, for its owner alone, whole or not at all; returns it.

    Raises:
        ConfigError: there is a file already, or it cannot be written.
    """
    key = os.urandom(KEY_BYTES)
    draft = path.with_name(f".{path.name}.{os.urandom(8).hex()}")
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        _write(draft, key)
        os.link(draft, path)  # fails where there is one, as a rename would not
    except OSError as error:
        raise ConfigError(f"key {path}", error.strerror or str(error), "keys are never replaced") from error
    finally:
        with contextlib.suppress(OSError):
            draft.unlink()
    return key


def key_at(path: Path) -> bytes:
    """The key of that file, made where there is none.

    Raises:
        ConfigError: as ``read_key`` and ``make_key``.
    """
    if not os.path.lexists(path):
        try:
            return make_key(path)
        except ConfigError:
            if not os.path.lexists(path):
                raise  # else somebody else made one in between
    return read_key(path)


def _write(path: Path, content: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(descriptor)
