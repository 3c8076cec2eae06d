"""What the driver raises while PostgreSQL is down is an error of the infrastructure, which is retried."""

from __future__ import annotations

import asyncpg
import pytest

from syntor.contracts.errors import InfrastructureError, StorageFullError
from syntor.projections.postgres import _translated
from syntor.projections.store import UnstorableError


@pytest.mark.parametrize(
    ("raised", "expected"),
    [
        (asyncpg.CannotConnectNowError("starting up"), InfrastructureError),
        (asyncpg.InterfaceError("connection is closed"), InfrastructureError),
        (asyncpg.InternalClientError("cannot switch to state 12"), InfrastructureError),
        (ConnectionRefusedError(), InfrastructureError),
        (TimeoutError(), InfrastructureError),
        (asyncpg.DiskFullError("no space"), StorageFullError),
        (asyncpg.DataError("out of range"), UnstorableError),
    ],
)
def test_errors_of_the_driver_are_translated(raised: Exception, expected: type[Exception]) -> None:
    with pytest.raises(expected) as caught, _translated():
        raise raised
    assert type(caught.value) is expected
