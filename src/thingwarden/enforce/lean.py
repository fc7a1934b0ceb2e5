"""Keeps OpenSSL's digests out of a small process: they are a fifth of it, and Python's own SHA-256 serves as well.

In: nothing; importing it before ``hashlib`` is all. Out: nothing.
Must never: be imported by a process that hashes much, or after ``hashlib``.
"""

from __future__ import annotations

import sys

sys.modules.setdefault("_hashlib", None)  # type: ignore[arg-type]
