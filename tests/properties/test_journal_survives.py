"""No acknowledged journal entry is lost by kill -9, at whatever moment it comes, and no batch is kept in part."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from thingwarden.serve.store import Journal

BATCH = 3
WRITER = """
import itertools, sys
from pathlib import Path
from thingwarden.serve.store import Journal, JournalEntry
with Journal(Path(sys.argv[1])) as journal:
    for batch in itertools.count():
        journal.append(
            JournalEntry(at="", kind="decision", subject=str(batch), incident="", body={"text": "x" * (batch % 5000)})
            for _ in range(3)
        )
        sys.stdout.write(f"{batch}\\n")
        sys.stdout.flush()
"""


@pytest.mark.parametrize("seed", range(8))
def test_no_acknowledged_entry_is_lost_by_kill_9(tmp_path: Path, seed: int) -> None:
    path = tmp_path / "journal.sqlite"
    draw = random.Random(seed)
    acknowledged = 0
    for _ in range(2):
        writer = subprocess.Popen([sys.executable, "-c", WRITER, path], stdout=subprocess.PIPE)
        assert writer.stdout is not None
        assert writer.stdout.readline()
        time.sleep(draw.uniform(0, 0.15))
        writer.send_signal(signal.SIGKILL)
        acknowledged += 1 + writer.stdout.read().count(b"\n")
        writer.wait()
        with Journal(path, is_read_only=True) as journal:
            found = journal.verify()
            assert found.broken_at is None
            assert found.entry_count % BATCH == 0
            assert found.entry_count >= acknowledged * BATCH
            acknowledged = found.entry_count // BATCH
