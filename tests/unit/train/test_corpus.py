"""The registry of captures: what belongs together, what is masked, and that the cache changes nothing."""

from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest

from lab_builder import build_lab, network_entry
from thingwarden.config import PACKAGED_SAMPLE
from thingwarden.domain.errors import ConfigError
from thingwarden.domain.flow import COLUMN_DTYPES, FlowBatch, Labels
from thingwarden.domain.taxonomy import AttackClass
from thingwarden.ingest.lab_corpus import LabManifest, write_manifest, write_network
from thingwarden.testing import FlowSpec, build_flows
from thingwarden.train.corpus import (
    UNTRUSTED,
    Capture,
    constant_labels,
    list_captures,
    load_capture,
    load_corpus,
    load_sessions,
    mask_labels,
)

CONN_LOG = "\t".join(["#fields", "ts", "uid", "id.orig_h", "id.orig_p", "id.resp_h", "id.resp_p", "proto", "service",
                      "duration", "orig_bytes", "resp_bytes", "conn_state", "history"]) + "\n"  # fmt: skip


def _write_log(path: Path, starts_s: list[float]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = [
        f"{at_s:.6f}\tC{n}\t192.168.1.5\t4000\t192.0.2.1\t80\ttcp\t-\t1.0\t1\t1\tSF\tShADFf"
        for n, at_s in enumerate(starts_s)
    ]
    path.write_text("#separator \\x09\n#set_separator\t,\n#empty_field\t(empty)\n#unset_field\t-\n#path\tconn\n"
                    + CONN_LOG + "\n".join(rows) + "\n")  # fmt: skip


def _capture(path: Path, name: str = "4-1", family: str = "iot23") -> Capture:
    return Capture(name=name, family=family, group=name, kind="benign", paths=(path,))  # type: ignore[arg-type]


def _is_equal(one: FlowBatch, other: FlowBatch) -> bool:
    assert one.labels is not None and other.labels is not None
    columns = [(getattr(one, name), getattr(other, name)) for name in COLUMN_DTYPES]
    columns += [(getattr(one.labels, field.name), getattr(other.labels, field.name)) for field in fields(Labels)]
    return all(np.array_equal(a, b, equal_nan=a.dtype.kind == "f") for a, b in columns)


def test_a_folder_without_captures_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="holds none"):
        list_captures(tmp_path)


def test_flows_come_in_time_order_and_benign_sets_are_labelled_benign(tmp_path: Path) -> None:
    log = tmp_path / "conn.log"
    _write_log(log, [3.0, 1.0, 2.0])
    flows = load_capture(_capture(log))
    assert flows.started_at_s.tolist() == [1.0, 2.0, 3.0]
    assert flows.labels is not None and flows.labels.malicious.tolist() == [0, 0, 0]


def test_set_up_sessions_stay_apart(tmp_path: Path) -> None:
    paths = (tmp_path / "a" / "conn.log", tmp_path / "b" / "conn.log")
    _write_log(paths[0], [100.0, 101.0])
    _write_log(paths[1], [5.0])
    capture = Capture(name="sentinel/X", family="sentinel-2016", group="x", kind="benign", paths=paths)
    assert [len(flows) for flows in load_sessions(capture)] == [1, 2]
    assert [len(flows) for flows in load_sessions(replace(capture, family="home-2020"))] == [3]


def test_cache_gives_back_what_it_was_given_and_follows_the_content(tmp_path: Path) -> None:
    log, cache = tmp_path / "conn.log", tmp_path / "cache"
    _write_log(log, [1.0, 2.0])
    fresh, stored, again = (load_capture(_capture(log), folder) for folder in (None, cache, cache))
    assert _is_equal(fresh, stored) and _is_equal(fresh, again)
    _write_log(log, [1.0, 2.0, 3.0])
    assert len(load_capture(_capture(log), cache)) == 3


@pytest.mark.parametrize(
    ("capture", "resp", "port", "is_masked"),
    [
        ("34-1", "185.244.25.235", 80, True),
        ("34-1", "185.244.25.235", 6667, False),
        ("34-1", "50.50.50.53", 53, True),
        ("34-1", "1.1.1.1", 53, False),
        ("42-1", "185.244.25.183", 4975, True),
        ("42-1", "192.0.2.1", 4975, False),
        ("43-1-partial", "192.0.2.1", 23, True),
    ],
)
def test_rows_that_cannot_be_trusted_are_named(capture: str, resp: str, port: int, is_masked: bool) -> None:
    flows = build_flows([FlowSpec(resp=resp, resp_port=port, conn_state="S0")])
    assert UNTRUSTED[capture](flows, np.array([True])).tolist() == [is_masked]


def test_masked_rows_stay_but_have_no_label() -> None:
    flows = replace(build_flows([FlowSpec(), FlowSpec()]), labels=constant_labels(2, AttackClass.SCAN))
    masked = mask_labels(flows, np.array([True, False]))
    assert masked.labels is not None
    assert masked.labels.malicious.tolist() == [-1, 1]
    assert masked.labels.attack_class.tolist()[0] == -1
    assert len(masked) == 2


@pytest.mark.data
def test_the_public_captures_are_as_the_readme_counts_them(
    data_folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    corpus = load_corpus(data_folder, tmp_path_factory.mktemp("cache"))
    counts: dict[str, list[int]] = {}
    for capture, flows in corpus.parts:
        assert flows.labels is not None
        here = [int((flows.labels.malicious == value).sum()) for value in (-1, 0, 1)]
        counts[capture.name] = [a + b for a, b in zip(counts.get(capture.name, [0, 0, 0]), here, strict=True)]
    assert counts["34-1"] == [110, 1813, 21222]
    assert counts["42-1"] == [1947, 2473, 6]
    assert counts["20-1"] == [0, 3193, 16]
    assert counts["43-1-partial"] == [5591, 0, 402]
    assert counts["lan-008"] == [60, 1402, 4201]
    assert counts["lan-002"] == [0, 0, 4504]
    assert sum(name.startswith("sentinel/") for name in counts) == 20
    assert sum(name.startswith("home/") for name in counts) == 10
    assert len(corpus.ton) == 161_200


def _lay_out_sample(data: Path, *, with_manifest: bool, name: str = "sample.pcap.gz") -> Path:
    folder = data / "benign" / "iot-sentinel-2016" / "Sample"
    folder.mkdir(parents=True)
    (folder / name).write_bytes(PACKAGED_SAMPLE.read_bytes())
    if with_manifest:
        (folder / "manifest.json").write_bytes(PACKAGED_SAMPLE.with_name("manifest.json").read_bytes())
    return folder / name


@pytest.mark.parametrize("with_manifest", [True, False])
def test_the_packaged_sample_is_refused_under_any_name(tmp_path: Path, with_manifest: bool) -> None:
    sample = _lay_out_sample(tmp_path, with_manifest=with_manifest, name="day-1.pcap.gz")
    with pytest.raises(ConfigError, match=r"day-1\.pcap\.gz") as refused:
        load_corpus(tmp_path, tmp_path / "cache")
    assert str(sample) in refused.value.what
    assert not (tmp_path / "cache").exists()


def test_any_run_whose_manifest_says_so_is_refused(tmp_path: Path) -> None:
    log = tmp_path / "conn.log"
    _write_log(log, [1.0])
    (tmp_path / "manifest.json").write_text('{"exclude_from_training": true}')
    with pytest.raises(ConfigError, match="excludes it"):
        load_sessions(_capture(log))
    (tmp_path / "manifest.json").write_text('{"exclude_from_training": false}')
    assert len(load_capture(_capture(log))) == 1


@pytest.mark.parametrize("content", ["{", "[]"])
def test_a_manifest_that_cannot_be_read_is_refused(tmp_path: Path, content: str) -> None:
    log = tmp_path / "conn.log"
    _write_log(log, [1.0])
    (tmp_path / "manifest.json").write_text(content)
    with pytest.raises(ConfigError, match=r"manifest\.json"):
        load_sessions(_capture(log))


def test_simulated_networks_are_captures_of_their_own_and_those_to_count_in_stay_out(tmp_path: Path) -> None:
    _write_log(tmp_path / "iot23" / "CTU-Honeypot-Capture-4-1" / "conn.log", [1.0])
    folder = build_lab(tmp_path / "lab", networks=2, counted=2)
    corpus = load_corpus(tmp_path, lab=folder)
    assert corpus.lab is not None and load_corpus(tmp_path).lab is None
    assert [(p.capture.name, p.capture.kind) for p in corpus.lab.parts] == [
        ("net-00000", "attack"),
        ("net-00001", "benign"),
    ]
    assert all(part.capture.family == "lab" for part in corpus.lab.parts)
    assert corpus.lab.find("net-00003").purpose == "count"
    assert all(part.capture.family != "lab" for part in corpus.parts)


def test_what_passes_a_host_in_the_middle_is_context_without_a_label(tmp_path: Path) -> None:
    _write_log(tmp_path / "iot23" / "CTU-Honeypot-Capture-4-1" / "conn.log", [1.0])
    middle = replace(build_flows([FlowSpec(), FlowSpec()]), labels=constant_labels(2, AttackClass.MITM))
    folder = tmp_path / "lab"
    folder.mkdir()
    entry = write_network(folder, middle, network_entry(0, devices=1, attacked=True))
    write_manifest(folder, LabManifest(recipe_sha256="0" * 64, seed=1, networks=(entry,)))
    lab = load_corpus(tmp_path, lab=folder).lab
    assert lab is not None and lab.parts[0].flows.labels is not None
    assert lab.parts[0].flows.labels.malicious.tolist() == [-1, -1]
