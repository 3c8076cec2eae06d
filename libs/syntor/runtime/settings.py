"""Reads a service's settings from `SYNTOR_*` environment variables into one frozen struct, once, at the start."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from syntor.contracts.access import SEED_SUFFIX
from syntor.contracts.errors import ConfigurationError
from syntor.contracts.ids import new_id
from syntor.jetstream.access import Access

PREFIX = "SYNTOR_"
LOG_LEVELS = ("debug", "info", "warning", "error")


class ServiceSettings(msgspec.Struct, frozen=True, kw_only=True):
    """What all services read; a service's own settings extend it. Field `foo_bar` is `SYNTOR_FOO_BAR`."""

    environment: str = "development"
    """Name of the deployment, in every log line."""
    log_level: str = "info"
    """debug, info, warning or error."""
    nats_url: str = "nats://127.0.0.1:4222"
    """NATS servers, separated by commas."""
    nats_keys: str = ""
    """Folder with `<service>.nk`, the seed of this service's NATS user; empty: the server asks for none."""
    nats_ca: str = ""
    """File with the authorities NATS' certificate may be of; empty: those of the system."""
    nats_cert: str = ""
    """File with this service's own certificate, for a NATS that wants one."""
    nats_key: str = ""
    """File with its private key."""
    durability: str = "durable"
    """durable: the server syncs each write, appends commit in groups; fast: it does not, each is sent at once."""
    health_host: str = "127.0.0.1"
    """Address of /livez, /readyz and /metrics."""
    health_port: int = 0
    """Port of them; 0: a free one, written to the log."""
    home: str = "~/.syntor"
    """Folder of configuration and local data."""
    instance: str = ""
    """Name of this process among its kind; generated when empty."""

    def nats_access(self, service: str) -> Access:
        """Return who `service` is on NATS."""
        nkey = str(Path(self.nats_keys).expanduser() / f"{service}{SEED_SUFFIX}") if self.nats_keys else ""
        return Access(nkey=nkey, ca=self.nats_ca, cert=self.nats_cert, key=self.nats_key)


T = TypeVar("T", bound=ServiceSettings)


def read_settings(cls: type[T], environ: Mapping[str, str] = os.environ) -> T:
    """Read settings of type `cls` from the environment; empty variables count as unset.

    Raises:
        ConfigurationError: a value is not of its field's type; names variable, value and what is expected.
    """
    values: dict[str, Any] = {}
    for field in msgspec.structs.fields(cls):
        variable = PREFIX + field.name.upper()
        text = environ.get(variable, "")
        if not text:
            continue
        try:
            values[field.name] = msgspec.convert(text, field.type, strict=False)
        except msgspec.ValidationError as exc:
            raise ConfigurationError(f"{variable}={text!r}: {exc}".replace(", got `str`", "")) from exc
    level = str(values.get("log_level", "info")).lower()
    if level not in LOG_LEVELS:
        raise ConfigurationError(f"{PREFIX}LOG_LEVEL={level!r}: expected one of {', '.join(LOG_LEVELS)}")
    values["log_level"] = level
    durability = values.get("durability", "durable")
    if durability not in ("durable", "fast"):
        raise ConfigurationError(f"{PREFIX}DURABILITY={durability!r}: expected durable or fast")
    values["home"] = str(Path(values.get("home", "~/.syntor")).expanduser())
    values.setdefault("instance", new_id()[-10:])
    return cls(**values)
