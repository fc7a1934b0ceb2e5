"""The same recipe and seed draw the same schedule; moments scale with the duration."""

from __future__ import annotations

import pytest

from thingwarden.domain.errors import ConfigError
from thingwarden.lab.condition import CONDITIONS
from thingwarden.lab.prefix import require_inside
from thingwarden.lab.recipe import Recipe
from thingwarden.lab.schedule import draw_schedule
from thingwarden.lab.timeline import Cut, Restore


def recipe(**changes: object) -> Recipe:
    event = {"kind": "cloud_outage", "on": ["vendor.example"], "begins_ratio": [0.2, 0.8], "lasts_ratio": 0.1}
    return Recipe.model_validate(
        {
            "name": "tiny",
            "about": "Two plugs and an outage.",
            "duration_s": 100.0,
            "seed": 1,
            "exclude_from_training": True,
            "devices": [{"name": "plug", "kind": "plug", "host": 5}, {"name": "lamp", "kind": "plug", "host": 6}],
            "events": [event],
            **changes,
        }
    )


def outage(**changes: object) -> dict[str, object]:
    return {"kind": "cloud_outage", "on": ["vendor.example"], "begins_ratio": [0.2, 0.8], "lasts_s": 10.0, **changes}


def test_the_same_seed_draws_the_same_schedule() -> None:
    assert draw_schedule(recipe(), seed=7) == draw_schedule(recipe(), seed=7)
    assert draw_schedule(recipe(), seed=7) != draw_schedule(recipe(), seed=8)


def test_seed_duration_and_condition_are_the_recipes_unless_given() -> None:
    own = draw_schedule(recipe(condition="lte"))
    assert (own.seed, own.duration_s, own.condition.name) == (1, 100.0, "lte")
    given = draw_schedule(recipe(condition="lte"), seed=2, duration_s=50.0, condition=CONDITIONS["wired"])
    assert (given.seed, given.duration_s, given.condition.name) == (2, 50.0, "wired")


def test_moments_scale_with_the_duration() -> None:
    long, short = (draw_schedule(recipe(), duration_s=duration_s) for duration_s in (400.0, 40.0))
    for one, other in zip(long.planned, short.planned, strict=True):
        assert one.at_s == pytest.approx(10 * other.at_s, abs=0.02)


def test_hosts_are_inside_the_lab_and_their_macs_are_their_own() -> None:
    schedule = draw_schedule(recipe(ip_versions=[4, 6]))
    for host in schedule.hosts:
        require_inside(host.address)
        require_inside(host.address6)
        assert int(host.mac[:2], 16) & 3 == 2, "locally administered, unicast"
    assert len({host.mac for host in schedule.hosts}) == 2
    assert all(host.address6 == "" for host in draw_schedule(recipe()).hosts)


def test_devices_differ_as_much_as_the_recipe_says() -> None:
    usual = draw_schedule(recipe()).hosts[0].traits.number("report_s", 60, 5, 3600)
    drawn = {
        draw_schedule(recipe(breadth=1.0), seed=seed).hosts[0].traits.number("report_s", 60, 5, 3600)
        for seed in range(5)
    }
    assert usual == 60
    assert len(drawn) == 5


def test_each_happening_has_its_own_moment_and_name() -> None:
    schedule = draw_schedule(recipe(events=[outage(count=3), outage(on=["plug"])]))
    cuts = [item for item in schedule.planned if isinstance(item.action, Cut)]
    assert sorted(item.event for item in cuts) == [
        "cloud_outage-1",
        "cloud_outage-2",
        "cloud_outage-3",
        "cloud_outage-4",
    ]
    assert len({item.at_s for item in cuts}) == 4
    assert [item.at_s for item in schedule.planned] == sorted(item.at_s for item in schedule.planned)


def test_an_event_does_not_disturb_the_draw_of_another() -> None:
    alone = draw_schedule(recipe(events=[outage()])).planned
    together = draw_schedule(recipe(events=[outage(), outage(on=["plug"])])).planned
    assert set(map(repr, alone)) <= set(map(repr, together))


def test_what_would_outlast_the_run_is_shortened() -> None:
    schedule = draw_schedule(recipe(events=[outage(lasts_s=5000.0)]))
    (restore,) = [item for item in schedule.planned if isinstance(item.action, Restore)]
    assert restore.at_s <= schedule.duration_s


@pytest.mark.parametrize(
    ("event", "named"),
    [
        (outage(kind="earthquake"), ("events.0", "earthquake", "isp_outage")),
        (outage(settings={"mode": "loud"}), ("events.0", "settings.mode", "loud", "silent")),
        (outage(settings={"colour": 3}), ("events.0", "settings.colour")),
    ],
)
def test_a_wrong_event_is_refused_by_name(event: dict[str, object], named: tuple[str, ...]) -> None:
    with pytest.raises(ConfigError) as caught:
        draw_schedule(recipe(events=[event]))
    error = caught.value
    assert all(part in f"{error} {error.hint}" for part in named), f"{error} {error.hint}"
