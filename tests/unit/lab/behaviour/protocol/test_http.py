"""Requests, wishes in the path, and how connections are used."""

from __future__ import annotations

import pytest

from play_builder import build_hosts, contacts, play
from thingwarden.lab.behaviour.kind import Site
from thingwarden.lab.behaviour.protocol.buffered import Buffered
from thingwarden.lab.behaviour.protocol.credential import FACTORY_LOGIN, basic_authorization
from thingwarden.lab.behaviour.protocol.http import Ask, Manners, content_length, filler, read_answer, visit
from thingwarden.lab.behaviour.reach import Reach
from thingwarden.lab.directory import SERVICES
from thingwarden.lab.traits import Traits
from thingwarden.lab.world import Behaviour, Identity, World

PLAIN = Site(services=("vendor.example",), port=80)
TLS = Site(services=("vendor.example",), port=443, is_tls=True)


def _visiting(site: Site, asks: list[Ask], manners: Manners) -> Behaviour:
    async def act(world: World) -> None:
        await visit(world, Reach(world.me, "cloud", site), asks, manners)

    return act


def test_length_is_read_whatever_its_case_and_absent_is_zero() -> None:
    assert content_length(b"HTTP/1.1 200 OK\r\ncontent-LENGTH:  42\r\n\r\n") == 42
    assert content_length(b"HTTP/1.1 200 OK\r\n\r\n") == 0


def test_answer_has_the_size_that_was_wished_for() -> None:
    flows = play(client=_visiting(PLAIN, [Ask(path="/x", answer_bytes=30_000, think_ms=200)], Manners()))
    web = flows.take((flows.resp_port == 80).nonzero()[0])
    assert 30_000 < web.resp_bytes[0] < 30_200
    assert web.duration_s[0] > 0.15


def test_body_goes_out_and_answer_is_whole_over_tls() -> None:
    flows = play(client=_visiting(TLS, [Ask(path="/x", body_bytes=200_000, answer_bytes=10)], Manners()))
    assert (6, 443, "SF", "ssl") in contacts(flows)
    assert flows.orig_bytes.max() > 200_000


@pytest.mark.parametrize(("keep", "connections"), [(True, 1), (False, 3)])
def test_requests_share_a_connection_or_do_not(keep: bool, connections: int) -> None:
    flows = play(client=_visiting(PLAIN, [Ask(path="/weather")] * 3, Manners(is_keep_alive=keep)))
    assert [contact[1] for contact in contacts(flows)].count(80) == connections


def test_manners_differ_between_makers_and_stay_with_one() -> None:
    drawn = [Manners.drawn(Traits(seed=str(seed), breadth=1.0), "cloud") for seed in range(30)]
    assert len({manners.header_bytes for manners in drawn}) > 20
    assert drawn[3] == Manners.drawn(Traits(seed="3", breadth=1.0), "cloud")
    assert Manners.drawn(Traits(seed="0"), "cloud").agent == "thing/1.0"


@pytest.mark.parametrize(
    ("password", "status"), [("vizxv", b"401 Unauthorized"), (FACTORY_LOGIN[1], b"200 OK"), ("", b"200 OK")]
)
def test_only_the_right_password_is_let_in_and_nobody_has_to_present_one(password: str, status: bytes) -> None:
    seen: list[bytes] = []
    login = basic_authorization("root", password) + b"\r\n" if password else b""

    async def ask(world: World) -> None:
        stream = await world.connect(SERVICES["vendor.example"].address, 80)
        await stream.send(b"GET /page HTTP/1.1\r\nHost: a\r\n" + login + b"Connection: close\r\n\r\n")
        seen.append(await read_answer(Buffered(stream)))

    play(client=ask)
    assert seen[0].startswith(b"HTTP/1.1 " + status)
    assert (b"\nWWW-Authenticate: Basic " in seen[0]) == status.startswith(b"401")


def test_filler_has_the_length_asked_for() -> None:
    assert [len(filler(count)) for count in (0, 1, 255, 65_536)] == [0, 1, 255, 65_536]


def test_unreachable_service_is_an_oserror_of_the_visit() -> None:
    failed: list[str] = []
    gone = Site(services=("gone.example",), port=80)

    async def act(world: World) -> None:
        me: Identity = world.me
        with pytest.raises(OSError, match=r".*"):
            await visit(world, Reach(me, "cloud", gone), [Ask()], Manners())
        failed.append(me.name)

    play(client=act)
    assert failed == [build_hosts(["client"])[0].name]
