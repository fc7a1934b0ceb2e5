"""Suricata as it is installed: rules are unpacked, captures handed over, alerts and costs come back."""

from __future__ import annotations

import io
import lzma
import os
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from packet_builder import CLIENT, SERVER, conversation, pcap, tcp
from thingwarden.bench import suricata
from thingwarden.bench.suricata import (
    RuleSet,
    Suricata,
    find_rule_folders,
    read_cost,
    reason_not_run,
    rule_options,
    unpack_file,
    unpack_rules,
)
from thingwarden.domain.errors import InputError, RequestError
from thingwarden.domain.flow import address_from_words

RULE = (
    'alert tcp $HOME_NET any -> $EXTERNAL_NET any (msg:"TEST greeting"; content:"hello"; classtype:trojan-activity; '
    "sid:1; rev:1;)\n"
    "alert tcp any any -> any any (this is no rule; sid:2;)\n"
)


@pytest.fixture
def rules(tmp_path: Path) -> RuleSet:
    source = tmp_path / "source"
    source.mkdir()
    (source / "test.rules").write_text(RULE)
    return unpack_rules(source, tmp_path / "unpacked")


@pytest.fixture
def engine(rules: RuleSet) -> Iterator[Suricata]:
    if reason := reason_not_run():
        pytest.skip(reason)
    with Suricata(rules) as running:
        yield running


def test_each_capture_is_judged_by_itself(engine: Suricata, tmp_path: Path) -> None:
    assert engine.rule_counts == (1, 1)
    greeting, silence = tmp_path / "greeting.pcap.xz", tmp_path / "silence.pcap"
    greeting.write_bytes(lzma.compress(pcap(conversation())))
    silence.write_bytes(pcap([tcp(0.0, "S")]))
    batches = [engine.alerts(path) for path in (greeting, silence, greeting)]
    assert [batch.signature for batch in batches] == [("TEST greeting",), (), ("TEST greeting",)]
    assert str(address_from_words(*batches[0].orig_address[0].tolist())) == CLIENT
    assert str(address_from_words(*batches[0].resp_address[0].tolist())) == SERVER
    assert batches[0].severity.tolist() == [1], "the packaged classification knows trojan-activity"
    cost = engine.cost()
    assert cost.cpu_s > 0 and 10e6 < cost.peak_bytes < 2e9


def test_what_is_no_capture_never_reaches_the_engine(engine: Suricata, tmp_path: Path) -> None:
    broken, log, good = tmp_path / "broken.pcap", tmp_path / "conn.log", tmp_path / "good.pcap"
    broken.write_bytes(b"no capture at all")
    log.write_text("#separator \\x09\n#path\tconn\n#fields\tts\n#types\ttime\n")
    good.write_bytes(pcap(conversation()))
    for path in (broken, log):
        with pytest.raises(InputError, match=path.name):
            engine.alerts(path)
    assert len(engine.alerts(good)) == 1


def test_neighbours_are_looked_at_only_with_any_source(rules: RuleSet, tmp_path: Path) -> None:
    packaged = rule_options(rules, tmp_path)
    widened = rule_options(RuleSet(name="r", folder=rules.folder, sha256="", has_any_source=True), tmp_path)
    assert "vars.address-groups.EXTERNAL_NET=any" not in packaged
    assert "vars.address-groups.EXTERNAL_NET=any" in widened


def test_an_engine_that_cannot_start_is_told_of_and_cleaned_up(rules: RuleSet, monkeypatch: pytest.MonkeyPatch) -> None:
    if reason := reason_not_run():
        pytest.skip(reason)
    monkeypatch.setattr(suricata, "CONFIGURATION", Path("/nowhere.yaml"))
    with pytest.raises(RequestError, match="did not start"), Suricata(rules):
        pass


def test_what_is_missing_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert "no program named suricata" in reason_not_run()
    program = tmp_path / "suricata"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    assert "nowhere.yaml" in reason_not_run(Path("/nowhere.yaml"))


def test_rules_come_out_of_archives_whose_members_cannot_choose_their_place(tmp_path: Path) -> None:
    source = tmp_path / "set"
    source.mkdir()
    with tarfile.open(source / "all.rules.tar.gz", "w:gz") as archive:
        for name in ("../../outside.rules", "rules/inside.rules", "rules/classification.config", "rules/LICENSE"):
            member = tarfile.TarInfo(name)
            member.size = len(RULE)
            archive.addfile(member, io.BytesIO(RULE.encode()))
    rules = unpack_rules(source, tmp_path / "a" / "b" / "unpacked")
    assert sorted(path.name for path in rules.folder.iterdir()) == [
        "classification.config",
        "inside.rules",
        "outside.rules",
    ]
    assert not (tmp_path / "a" / "outside.rules").exists()
    assert (rules.name, rules.title) == ("set", "suricata set")


def test_single_compressed_rules_count_by_content_not_by_name(tmp_path: Path) -> None:
    digests = set()
    for name, content in (("one", RULE), ("two", RULE), ("three", RULE * 2)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "a.rules.xz").write_bytes(lzma.compress(content.encode()))
        digests.add(unpack_rules(tmp_path / name, tmp_path / f"{name}-out").sha256)
    assert len(digests) == 2


@pytest.mark.parametrize("content", [None, b"not an archive"])
def test_folders_without_rules_are_refused(content: bytes | None, tmp_path: Path) -> None:
    source = tmp_path / "set"
    source.mkdir()
    if content is not None:
        (source / "all.tar.gz").write_bytes(content)
    with pytest.raises(InputError, match=r"holds no rules|not an archive"):
        unpack_rules(source, tmp_path / "out")


def test_sets_are_the_folders_of_rules(tmp_path: Path) -> None:
    for name in ("rules/b", "rules/a", "other"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "rules" / "README").write_text("")
    assert [path.name for path in find_rule_folders(tmp_path)] == ["a", "b"]


def test_files_are_unpacked_whole(tmp_path: Path) -> None:
    packed = tmp_path / "x.xz"
    packed.write_bytes(lzma.compress(b"packets" * 1000))
    assert unpack_file(packed, tmp_path / "x").read_bytes() == b"packets" * 1000


def test_the_cost_of_a_process_is_read_while_it_lives() -> None:
    assert read_cost(os.getpid()).peak_bytes > 10e6
    with pytest.raises(RequestError, match="has ended"):
        read_cost(2**22 + 7)
