"""The one login that the lab's devices accept, and how HTTP and RTSP carry one.

In: user and password. Out: the ``Authorization`` header.
Must never: be a login of anything outside the lab.
Source: RFC 7617.
"""

from __future__ import annotations

import base64
from typing import Final

FACTORY_LOGIN: Final = ("root", "xc3511")
"""One of Mirai's published factory passwords; what a guess must find."""


def basic_authorization(user: str, password: str) -> bytes:
    """The header of basic authentication, without an end of line."""
    return b"Authorization: Basic " + base64.b64encode(f"{user}:{password}".encode())
