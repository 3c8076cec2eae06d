"""Settings come from SYNTOR_* and a wrong one is named with its value."""

from pathlib import Path

import pytest

from syntor.contracts.errors import ConfigurationError
from syntor.runtime.settings import ServiceSettings, read_settings


class _Settings(ServiceSettings, frozen=True, kw_only=True):
    max_concurrent_tasks: int = 10
    agent_timeout_s: float = 300.0


def test_defaults_hold_when_nothing_is_set() -> None:
    settings = read_settings(_Settings, {"SYNTOR_MAX_CONCURRENT_TASKS": ""})
    assert (settings.max_concurrent_tasks, settings.agent_timeout_s) == (10, 300.0)
    assert settings.home == str(Path.home() / ".syntor")
    assert settings.instance


def test_variables_are_converted_to_their_fields_type() -> None:
    environ = {"SYNTOR_MAX_CONCURRENT_TASKS": "3", "SYNTOR_AGENT_TIMEOUT_S": "1.5", "SYNTOR_LOG_LEVEL": "DEBUG"}
    settings = read_settings(_Settings, environ)
    assert (settings.max_concurrent_tasks, settings.agent_timeout_s, settings.log_level) == (3, 1.5, "debug")


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("SYNTOR_MAX_CONCURRENT_TASKS", "many"),
        ("SYNTOR_HEALTH_PORT", "1.5"),
        ("SYNTOR_HEALTH_PORT", "65536"),
        ("SYNTOR_LOG_LEVEL", "loud"),
        ("SYNTOR_DURABILITY", "slow"),
    ],
)
def test_a_wrong_value_names_the_variable_and_the_value(variable: str, value: str) -> None:
    with pytest.raises(ConfigurationError, match=f"{variable}='{value}'"):
        read_settings(_Settings, {variable: value})


def test_a_setting_of_a_closed_set_names_what_is_allowed() -> None:
    with pytest.raises(ConfigurationError, match="SYNTOR_DURABILITY='slow': expected one of durable, fast"):
        read_settings(_Settings, {"SYNTOR_DURABILITY": "slow"})
