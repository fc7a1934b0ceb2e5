"""What listens on the internet, and that a port means one thing."""

from __future__ import annotations

from play_builder import contacts, play
from thingwarden.lab.behaviour.kind import TLS_PORTS, Endpoint
from thingwarden.lab.behaviour.protocol import call, coap, session
from thingwarden.lab.behaviour.services import OFFERED, DatagramListener, Listener, listeners
from thingwarden.lab.directory import SERVICES
from thingwarden.lab.world import World


def test_every_harmless_service_offers_something_but_the_one_that_is_gone() -> None:
    harmless = {name for name, service in SERVICES.items() if not service.is_hostile and name != "reflector.invalid"}
    assert set(OFFERED) == harmless
    assert [name for name, offered in OFFERED.items() if not offered] == ["gone.example"]


def test_port_means_the_same_at_every_service() -> None:
    streams = {(one.port, one.is_tls) for several in OFFERED.values() for one in several if isinstance(one, Listener)}
    assert len({port for port, _ in streams}) == len(streams)
    assert all((port in TLS_PORTS) == is_tls for port, is_tls in streams)


def test_host_of_all_services_listens_once_on_each_port_and_on_what_devices_chose() -> None:
    chosen = [
        Endpoint(service="vendor.example", port=31_337, is_tls=True),
        Endpoint(service="vendor.example", port=31_337, transport="udp"),
        Endpoint(service="vendor.example", port=443, is_tls=True),
        Endpoint(service="gone.example", port=4242),
    ]
    offered = list(listeners("internet", chosen))
    keys = [(isinstance(one, DatagramListener), one.port) for one in offered]
    assert len(set(keys)) == len(keys)
    assert {(False, 31_337), (True, 31_337), (False, 554), (True, 123)} <= set(keys)
    assert (False, 4242) not in keys


def test_single_service_listens_on_what_is_its_own() -> None:
    chosen = [Endpoint(service="vendor.example", port=31_337), Endpoint(service="cdn.example", port=31_338)]
    ports = {one.port for one in listeners("cdn.example", chosen)}
    assert 31_338 in ports
    assert not ports & {31_337, 554, 123}
    assert list(listeners("control.invalid", chosen)) == []


def test_datagrams_are_answered_by_what_they_are() -> None:
    came: list[int] = []
    vendor, relay = SERVICES["vendor.example"].address6, SERVICES["call.example"].address

    async def device(world: World) -> None:
        socket = await world.open_datagrams(is_v6=True)
        came.append(await session.ask_datagrams(socket, vendor, 10_001, session.encode_wish(50, 80, 3, 5)))
        await socket.send(vendor, 10_001, b"\x13what")
        plain = await world.open_datagrams()
        await call.find_way(world, plain, relay)
        cloud = SERVICES["coap-cloud.example"].address
        came.append((await coap.request(world, plain, cloud, 5683, coap.PUT, "a", 10)).code)

    flows = play(device=device)
    assert came == [3, coap.CHANGED]
    assert sorted(contacts(flows)) == [(17, 3478, "SF", ""), (17, 5683, "SF", ""), (17, 10_001, "SF", "")]
