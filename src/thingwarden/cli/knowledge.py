"""What others know about the traffic, as commands take it: alert logs and lists.

In: the options ``--alerts`` and ``--indicators``, else the settings. Out: ``Knowledge``, and what was passed over.
Must never: judge with half of what was named; a file that cannot be read ends the command.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click

from thingwarden.cli.invocation import Invocation, quantity

if TYPE_CHECKING:
    from thingwarden.domain.alert import AlertBatch
    from thingwarden.domain.heard_name import HeardNames
    from thingwarden.domain.indicator import IndicatorSet

AnyCommand = TypeVar("AnyCommand", bound=Callable[..., Any])


def sighting_options(command: AnyCommand) -> AnyCommand:
    """Add ``--alerts`` and ``--indicators``; the command gets ``alerts`` and ``indicators``, tuples of paths."""
    file = click.Path(path_type=Path, dir_okay=False)
    alerts = click.option(
        "--alerts", type=file, multiple=True, help="Suricata's eve.json on the same traffic; may be repeated."
    )
    indicators = click.option(
        "--indicators", type=file, multiple=True, help="List of bad addresses and names, or STIX bundle; repeatable."
    )
    return alerts(indicators(command))


@dataclass(frozen=True, slots=True, kw_only=True)
class Knowledge:
    """Alerts and lists, read.

    Attributes:
        alerts, indicators, names: as ``ReplayPlan`` takes them; None where nothing was named.
    """

    alerts: AlertBatch | None = None
    indicators: IndicatorSet | None = None
    names: HeardNames | None = None

    def notes(self, stray_alert_count: int, stray_name_count: int) -> Iterator[str]:
        """After judging: what of the alerts and lists could not speak, and why."""
        if self.alerts is not None and stray_alert_count:
            yield f"{stray_alert_count:,} of {quantity(len(self.alerts), 'alert')} belong to none of these flows"
        if stray_name_count:
            yield f"{quantity(stray_name_count, 'listed name')} heard in none of these flows"
        if self.indicators is None:
            return
        if self.indicators.passed_over:
            said = ", ".join(
                f"{count:,} {reason.replace('_', ' ')}" for reason, count in self.indicators.passed_over.items()
            )
            yield f"lists: left out {said}"
        name_count = sum(1 for name in self.indicators.name if name)
        if name_count and self.names is None:
            yield f"lists: {quantity(name_count, 'name')} not compared, for flows carry none; give --alerts eve.json"


NOTHING_KNOWN: Final = Knowledge()


def read_knowledge(invocation: Invocation, alerts: Sequence[Path], indicators: Sequence[Path]) -> Knowledge:
    """Read what the options name, else what the settings name.

    Raises:
        InputError: a file is not what it claims to be; names file, place and expectation.
        RequestError: a file cannot be opened, or needs the extra ``stix``.
    """
    settings = invocation.loaded.settings.sightings
    alert_paths, list_paths = alerts or settings.alerts, indicators or settings.indicators
    listed = _read_lists(list_paths, settings.unstated_confidence) if list_paths else None
    if not alert_paths:
        return Knowledge(indicators=listed)
    from thingwarden.domain.alert import AlertBatch
    from thingwarden.ingest.eve import read_alerts

    batches = [_with_progress(invocation, path, read_alerts) for path in alert_paths]
    names = _read_names(invocation, alert_paths, listed) if listed is not None else None
    return Knowledge(alerts=AlertBatch.concatenate(batches), indicators=listed, names=names)


def _read_lists(paths: Sequence[Path], unstated_confidence: int) -> IndicatorSet:
    from thingwarden.domain.indicator import IndicatorSet
    from thingwarden.ingest.indicators import read_indicators

    return IndicatorSet.concatenate([read_indicators(path, unstated_confidence) for path in paths])


def _read_names(invocation: Invocation, paths: Sequence[Path], listed: IndicatorSet) -> HeardNames | None:
    """The listed names that the logs heard; None where no list holds a name."""
    from thingwarden.detect.sightings import NameIndex
    from thingwarden.domain.heard_name import HeardNames
    from thingwarden.ingest.eve_names import read_names

    index = NameIndex(listed)
    if not index:
        return None
    return HeardNames.concatenate(
        [_with_progress(invocation, path, lambda path, advance: read_names(path, index.has, advance)) for path in paths]
    )


_Read = TypeVar("_Read")


def _with_progress(invocation: Invocation, path: Path, read: Callable[[Path, Callable[[int], None]], _Read]) -> _Read:
    with invocation.progress(f"reading {path.name}", "lines") as advance:
        return read(path, lambda done: advance(done, None))
