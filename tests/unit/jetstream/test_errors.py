"""The table of server error codes."""

from __future__ import annotations

import pytest

from syntor.contracts.errors import (
    ConfigurationError,
    InfrastructureError,
    MalformedMessageError,
    NotFoundError,
    NotReachableError,
    StorageFullError,
    SyntorError,
)
from syntor.jetstream.errors import ApiFault, fault_to_error


@pytest.mark.parametrize(
    ("code", "err_code", "description", "kind"),
    [
        (503, 10077, "maximum bytes exceeded", StorageFullError),
        (503, 10023, "insufficient resources", StorageFullError),
        (500, 10047, "insufficient storage resources available", StorageFullError),
        (500, 10049, "write /data/1.blk: no space left on device", StorageFullError),
        (404, 10059, "stream not found", NotFoundError),
        (404, 10014, "consumer not found", NotFoundError),
        (400, 10054, "message size exceeds maximum allowed", MalformedMessageError),
        (500, 10052, "stream configuration update can not change storage type", ConfigurationError),
        (503, 10008, "JetStream system temporarily unavailable", NotReachableError),
        (429, 10167, "too many requests", NotReachableError),
        (500, 10049, "something else", InfrastructureError),
        (400, 10003, "bad request", InfrastructureError),
    ],
)
def test_a_fault_maps_to_its_error(code: int, err_code: int, description: str, kind: type[SyntorError]) -> None:
    error = fault_to_error("append", ApiFault(code, err_code, description))

    assert type(error) is kind
    assert description in str(error)
    assert str(err_code) in str(error)
