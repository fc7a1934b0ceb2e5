"""Every row is accounted for, and a source without one good row is refused by its first fault."""

from __future__ import annotations

import numpy as np
import pytest

from thingwarden.domain.errors import InputError
from thingwarden.ingest.tally import RowTally


def test_rows_are_flows_plus_skipped() -> None:
    tally = RowTally("conn.log")
    tally.add_flows(5)
    tally.skip("port", np.array([7, 9]))
    tally.skip("port", np.array([12]))
    tally.skip("json", np.array([], dtype=np.int64))
    assert tally.counts == {"rows": 8, "flows": 5, "skipped_port": 3}
    tally.check_something_was_read()


def test_a_source_without_rows_is_accepted() -> None:
    RowTally("conn.log").check_something_was_read()


def test_only_faults_are_refused_naming_the_first() -> None:
    tally = RowTally("conn.log")
    tally.skip("port", np.array([9]))
    tally.skip("address", np.array([4, 5]))
    with pytest.raises(InputError, match=r"conn.log, line 4: none of 3 rows.*address: expected an IPv4") as caught:
        tally.check_something_was_read()
    assert caught.value.hint
