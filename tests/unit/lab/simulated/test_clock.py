"""Virtual time passes in order, wakes whom it should, and ends what fails."""

from __future__ import annotations

import pytest

from thingwarden.lab.simulated.clock import FOREVER, Clock, Task, Waiter


def test_tasks_sleep_without_waiting_and_wake_in_order() -> None:
    clock, told = Clock(), []

    async def sleeper(name: str, span_s: float) -> None:
        await clock.sleep(span_s)
        told.append((name, clock.now_s))

    clock.start(sleeper("late", 3600.0), "late")
    clock.start(sleeper("soon", 1.5), "soon")
    clock.run_until(4000.0)
    assert told == [("soon", 1.5), ("late", 3600.0)]
    assert clock.now_s == 4000.0


def test_what_is_due_at_one_instant_keeps_the_order_in_which_it_was_asked_for() -> None:
    clock, told = Clock(), []
    for number in range(50):
        clock.call_at(1.0, told.append, number)
    clock.run_until(2.0)
    assert told == list(range(50))


def test_what_is_due_at_the_end_is_left_for_the_next_call() -> None:
    clock, told = Clock(), []
    clock.call_at(1.0, told.append, "due")
    clock.run_until(1.0)
    assert not told
    clock.run_until(1.1)
    assert told == ["due"]


def test_a_waiter_is_woken_before_its_time_runs_out() -> None:
    clock, told = Clock(), []
    waiters: list[Waiter] = []

    async def wait() -> None:
        waiters.append(clock.waiter())
        await clock.wait_until(10.0)
        told.append(clock.now_s)
        await clock.wait_until(10.5)
        told.append(clock.now_s)

    clock.start(wait(), "wait")
    clock.call_at(2.0, lambda _: waiters[0].wake())
    clock.call_at(3.0, lambda _: waiters[0].wake())
    clock.run_until(20.0)
    assert told == [2.0, 10.5]


def test_waking_from_within_a_task_waits_until_that_task_waits() -> None:
    clock, told = Clock(), []
    waiters: list[Waiter] = []

    async def wait() -> None:
        waiters.append(clock.waiter())
        await clock.wait_until(FOREVER)
        told.append("woken")

    async def wake() -> None:
        await clock.sleep(1.0)
        waiters[0].wake()
        told.append("still here")

    clock.start(wait(), "wait")
    clock.start(wake(), "wake")
    clock.run_until(2.0)
    assert told == ["still here", "woken"]


def test_an_oserror_ends_a_task_silently() -> None:
    clock, ended = Clock(), []

    async def fail() -> None:
        raise ConnectionResetError("gone")

    clock.start(fail(), "fail", on_end=lambda task: ended.append(task.name))
    clock.run_until(1.0)
    assert ended == ["fail"]


def test_any_other_error_is_a_bug_and_says_whose() -> None:
    clock = Clock()

    async def fail() -> None:
        await clock.sleep(1.0)
        raise ValueError("wrong")

    clock.start(fail(), "habit", "camera")
    with pytest.raises(ValueError, match="wrong") as caught:
        clock.run_until(2.0)
    assert caught.value.__notes__ == ["in task habit of camera at 1.000000 s"]


def test_a_cancelled_task_tidies_up_and_does_not_come_back() -> None:
    clock, told = Clock(), []

    async def live() -> None:
        try:
            await clock.sleep(5.0)
            told.append("lived on")
        finally:
            told.append("tidied up")

    task = clock.start(live(), "live")
    clock.run_until(1.0)
    task.cancel()
    task.cancel()
    clock.run_until(10.0)
    assert told == ["tidied up"]
    assert task.is_over


def test_a_task_that_has_not_begun_can_be_cancelled() -> None:
    clock, ended = Clock(), []

    async def live() -> None:
        ended.append("lived")

    def note(task: Task) -> None:
        ended.append(task.name)

    clock.start(live(), "live", on_end=note).cancel()
    clock.run_until(1.0)
    assert ended == ["live"]


def test_waiting_outside_a_task_is_refused() -> None:
    clock = Clock()
    with pytest.raises(RuntimeError, match="outside a task"):
        clock.waiter()
