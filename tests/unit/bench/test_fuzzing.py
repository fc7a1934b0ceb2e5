"""The fuzzer damages what is real, counts what became of it, and keeps what brings a reader down."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from packet_builder import conversation, pcap
from thingwarden.bench import fuzzing
from thingwarden.bench.fuzzing import damage, fuzz, render
from thingwarden.domain.errors import InputError

LOG = b"#fields\tts\tid.orig_h\tid.orig_p\tid.resp_h\tid.resp_p\tproto\n" + b"1.5\t10.0.0.1\t1\t10.0.0.2\t2\ttcp\n" * 9


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("protocols", "zeek-golden"):
        (tmp_path / name).mkdir()
    (tmp_path / "protocols" / "made.pcap").write_bytes(pcap(conversation()))
    (tmp_path / "zeek-golden" / "conn.log").write_bytes(LOG)
    (tmp_path / "zeek-golden" / "notes").write_bytes(b"no flows here")
    return tmp_path


def test_equal_seeds_damage_equally_and_others_otherwise() -> None:
    first, again, other = (damage(LOG, np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert first == again != other
    assert first != LOG


def test_damaged_inputs_are_read_or_refused(folder: Path, tmp_path: Path) -> None:
    seconds: list[tuple[int, int]] = []
    result = fuzz(folder, tmp_path / "kept", seconds=2, seed=0, progress=lambda *of: seconds.append(of))
    assert result.seeds == {"pcap": 1, "zeek-tsv": 1}
    assert result.read["pcap"] > 10
    assert result.read.total() + result.refused.total() == len(seconds)
    assert result.failures == {}
    assert "0 failures" in render(result, 0)
    assert not (tmp_path / "kept").exists()


def test_what_brings_a_reader_down_is_kept(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(place: Path, **_: object) -> None:
        raise IndexError("index 9 is out of bounds")

    monkeypatch.setattr(fuzzing, "open_source", broken)
    result = fuzz(folder, tmp_path / "kept", seconds=1, seed=7)
    name, why = next(iter(result.failures.items()))
    assert why == "IndexError: index 9 is out of bounds"
    assert (tmp_path / "kept" / name).stat().st_size > 0
    assert why in render(result, 7)


def test_a_folder_without_inputs_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds no capture"):
        fuzz(tmp_path, tmp_path, seconds=1, seed=0)
