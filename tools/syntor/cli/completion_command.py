"""`syntor completion SHELL`: prints the script that makes a shell call `completion.py`."""

from __future__ import annotations

import sys
from enum import StrEnum

import typer

_BASH = """\
_syntor() {
    local IFS=$'\\n'
    COMPREPLY=($(_SYNTOR_COMPLETE=1 syntor "${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null | cut -f1))
}
complete -o default -F _syntor syntor
"""
_ZSH = """\
#compdef syntor
_syntor() {
    local -a found
    local line
    while IFS= read -r line; do
        local name=${line%%$'\\t'*} text=${line#*$'\\t'}
        found+=("${name//:/\\\\:}${text:+:$text}")
    done < <(_SYNTOR_COMPLETE=1 syntor "${(@)words[2,CURRENT]}" 2>/dev/null)
    if (( ${#found} )); then _describe syntor found; else _files; fi
}
compdef _syntor syntor
"""
_FISH = """\
function __syntor
    set -l words (commandline -opc)[2..-1] (commandline -ct)
    _SYNTOR_COMPLETE=1 syntor $words 2>/dev/null
end
complete -c syntor -a '(__syntor)'
"""
_SCRIPTS = {"bash": _BASH, "zsh": _ZSH, "fish": _FISH}


class Shell(StrEnum):
    """A supported shell."""

    BASH = "bash"
    ZSH = "zsh"
    FISH = "fish"


def register(app: typer.Typer) -> None:
    """Add `completion`."""

    @app.command()
    def completion(shell: Shell) -> None:
        """Print a completion script; in bash: source <(syntor completion bash)."""
        sys.stdout.write(_SCRIPTS[shell.value])
