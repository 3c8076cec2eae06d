"""A misspelt `SYNTOR_*` variable is named with the one that was meant."""

from __future__ import annotations

import re
from pathlib import Path

from syntor.cli.environment_note import KNOWN, unread_variables
from syntor.configuration.keys import KEYS

ROOT = Path(__file__).parents[3]


def test_a_misspelt_variable_is_named_with_the_near_one() -> None:
    assert unread_variables(["SYNTOR_MODEL_GTI", "SYNTOR_HOEM", "PATH"]) == [
        "SYNTOR_HOEM is not read; did you mean SYNTOR_HOME?",
        "SYNTOR_MODEL_GTI is not read; did you mean SYNTOR_MODEL_GIT?",
    ]


def test_known_variables_and_models_of_other_agents_are_not_named() -> None:
    assert unread_variables([*KNOWN, "SYNTOR_MODEL_GIT", "SYNTOR_MODEL_TRANSLATOR", "SYNTOR_ZZZ"]) == []


def test_no_variable_the_code_reads_is_named() -> None:
    configured = {key.variable for key in KEYS if key.variable and "*" not in key.variable}
    read = configured | {
        name
        for folder in ("libs", "services", "tools")
        for path in (ROOT / folder).rglob("*.py")
        for name in re.findall(r'"(SYNTOR_[A-Z_]+[A-Z])"', path.read_text(encoding="utf-8"))
    }
    settings = {
        f"SYNTOR_{name.upper()}"
        for path in [*(ROOT / "services").rglob("settings.py"), ROOT / "libs/syntor/runtime/settings.py"]
        for name in re.findall(r"^    ([a-z_]+): ", path.read_text(encoding="utf-8"), re.MULTILINE)
    }
    assert unread_variables(read | settings) == []
