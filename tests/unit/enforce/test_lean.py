"""Without OpenSSL the seals are the same."""

from __future__ import annotations

import subprocess
import sys

from thingwarden.domain.order import sign_decision
from thingwarden.testing import build_decision

SCRIPT = """
import thingwarden.enforce.lean
import sys
from thingwarden.domain.order import verify_decision
decision = verify_decision({plan!r}, {signature!r}, bytes(32))
assert "_ssl" not in sys.modules
print(decision.decision_id, "libcrypto" in open("/proc/self/maps").read())
"""


def test_a_signature_is_verified_without_openssl() -> None:
    from thingwarden.domain.plan import encode_decision

    decision = build_decision()
    script = SCRIPT.format(plan=encode_decision(decision), signature=sign_decision(decision, bytes(32)))
    shown = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    assert shown.split() == [decision.decision_id, "False"]
