"""Reads a service's settings from `SYNTOR_*` environment variables into one frozen struct, once, at the start."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, get_args, get_origin

import msgspec

from syntor.contracts.access import SEED_SUFFIX
from syntor.contracts.errors import ConfigurationError
from syntor.contracts.ids import new_id
from syntor.jetstream.access import Access

PREFIX = "SYNTOR_"
Port = Annotated[int, msgspec.Meta(ge=0, le=65_535)]


class ServiceSettings(msgspec.Struct, frozen=True, kw_only=True):
    """What all services read; a service's own settings extend it. Field `foo_bar` is `SYNTOR_FOO_BAR`."""

    environment: str = "development"
    """Name of the deployment, in every log line."""
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    """Least level that is written."""
    nats_url: str = "nats://127.0.0.1:4222"
    """NATS servers, separated by commas."""
    nats_keys: str = ""
    """Folder with `<service>.nk`, the seed of this service's NATS user; empty: the server requires none."""
    nats_user: str = ""
    """Name of the key in that folder; empty: that of the service."""
    log_folder: str = ""
    """Folder of nats-server's store, where it is on this machine: nothing is appended when its disk is full."""
    nats_ca: str = ""
    """File with the certificate authorities of NATS; empty: those of the system."""
    nats_cert: str = ""
    """File with this service's own certificate, for a NATS that requires one."""
    nats_key: str = ""
    """File with its private key."""
    durability: Literal["durable", "fast"] = "durable"
    """durable: the server syncs each write, appends commit in groups; fast: it does not, each is sent immediately."""
    health_host: str = "127.0.0.1"
    """Address of /livez, /readyz and /metrics."""
    health_port: Port = 0
    """Port of them; 0: a free one, written to the log."""
    home: str = "~/.syntor"
    """Folder of configuration and local data."""
    instance: str = ""
    """Name of this process among its kind; generated when empty."""

    def nats_access(self, service: str) -> Access:
        """Return the credentials of `service` on NATS."""
        nkey = (
            str(Path(self.nats_keys).expanduser() / f"{self.nats_user or service}{SEED_SUFFIX}")
            if self.nats_keys
            else ""
        )
        return Access(nkey=nkey, ca=self.nats_ca, cert=self.nats_cert, key=self.nats_key)


T = TypeVar("T", bound=ServiceSettings)


def read_settings(cls: type[T], environ: Mapping[str, str] = os.environ) -> T:
    """Read settings of type `cls` from the environment; empty variables count as unset.

    Raises:
        ConfigurationError: a value is not of its field's type or bounds; names variable, value and what is expected.
    """
    values: dict[str, Any] = {}
    for field in msgspec.structs.fields(cls):
        variable = PREFIX + field.name.upper()
        if text := environ.get(variable, ""):
            values[field.name] = _converted(variable, text.lower() if field.name == "log_level" else text, field.type)
    values["home"] = str(Path(values.get("home", "~/.syntor")).expanduser())
    values.setdefault("instance", new_id()[-10:])
    return cls(**values)


def _converted(variable: str, text: str, expected: Any) -> Any:
    try:
        return msgspec.convert(text, expected, strict=False)
    except msgspec.ValidationError as exc:
        allowed = f"expected one of {', '.join(get_args(expected))}" if get_origin(expected) is Literal else str(exc)
        raise ConfigurationError(f"{variable}={text!r}: {allowed}".replace(", got `str`", "")) from exc
