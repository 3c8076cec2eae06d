"""Files that grant rights or run later by themselves. Changing one requires approval in every mode.

Not among them: `AGENTS.md` and the like, which guide models but grant nothing, and files that run only when a person
or an agent runs them by name (`Makefile`, `package.json`): the command that runs them is judged.
"""

from __future__ import annotations

import fnmatch
from pathlib import PurePath

_FOLDERS = {
    ".git": "belongs to git, which runs programs it names",
    ".syntor": "configures Syntor and its permissions",
    ".claude": "configures another agent", ".cursor": "configures another agent",
    ".codex": "configures another agent",
    ".gemini": "configures another agent", ".continue": "configures another agent",
    ".windsurf": "configures another agent",
    ".husky": "holds git hooks", ".githooks": "holds git hooks", "git-hooks": "holds git hooks",
    ".devcontainer": "runs when an editor opens the folder", ".circleci": "runs in continuous integration",
    ".buildkite": "runs in continuous integration", ".woodpecker": "runs in continuous integration",
    ".ssh": "grants access to machines", ".gnupg": "holds keys",
}  # fmt: skip
_PATHS = {
    ".github/workflows": "runs in continuous integration", ".github/actions": "runs in continuous integration",
    ".gitlab/ci": "runs in continuous integration", ".vscode/tasks.json": "runs in an editor",
    ".vscode/launch.json": "runs in an editor",
    ".vscode/settings.json": "names programs an editor runs", ".vscode/mcp.json": "names programs an agent runs",
    ".idea/runConfigurations": "runs in an editor", ".idea/workspace.xml": "runs in an editor",
    ".config/fish": "runs in every shell",
    ".config/autostart": "runs at login", ".config/systemd": "runs as a service",
    ".config/git": "names programs git runs",
    ".config/direnv": "runs when the folder is entered", "Library/LaunchAgents": "runs at login",
    "etc/cron.d": "runs by the clock",
    "var/spool/cron": "runs by the clock", "etc/profile.d": "runs in every shell", "etc/systemd": "runs as a service",
    "etc/sudoers.d": "grants rights",
}  # fmt: skip
_NAMES = {
    ".envrc": "runs when the folder is entered", ".direnvrc": "runs when the folder is entered",
    ".mise.toml": "runs when the folder is entered",
    "mise.toml": "runs when the folder is entered", ".gitlab-ci.yml": "runs in continuous integration",
    ".travis.yml": "runs in continuous integration",
    "Jenkinsfile": "runs in continuous integration", "azure-pipelines.yml": "runs in continuous integration",
    ".drone.yml": "runs in continuous integration",
    "bitbucket-pipelines.yml": "runs in continuous integration", "appveyor.yml": "runs in continuous integration",
    ".appveyor.yml": "runs in continuous integration",
    "cloudbuild.yaml": "runs in continuous integration", ".pre-commit-config.yaml": "runs at each commit",
    "lefthook.yml": "runs at each commit",
    ".lefthook.yml": "runs at each commit", ".mcp.json": "names programs an agent runs",
    "mcp.json": "names programs an agent runs",
    ".gitconfig": "names programs git runs", ".gitmodules": "names repositories git fetches",
    ".bashrc": "runs in every shell", ".bash_profile": "runs in every shell", ".bash_login": "runs in every shell",
    ".bash_logout": "runs in every shell", ".bash_aliases": "runs in every shell", ".profile": "runs in every shell",
    ".zshrc": "runs in every shell",
    ".zshenv": "runs in every shell", ".zprofile": "runs in every shell", ".zlogin": "runs in every shell",
    ".kshrc": "runs in every shell",
    ".cshrc": "runs in every shell", ".tcshrc": "runs in every shell", ".inputrc": "runs in every shell",
    ".xprofile": "runs at login", ".xinitrc": "runs at login",
    ".vimrc": "runs in an editor", ".exrc": "runs in an editor", ".nvimrc": "runs in an editor",
    ".emacs": "runs in an editor", ".gdbinit": "runs in a debugger", ".pythonrc": "runs in python",
    ".rhosts": "grants access to machines", "authorized_keys": "grants access to machines",
    "sudoers": "grants rights", "crontab": "runs by the clock", "*.code-workspace": "runs in an editor",
}  # fmt: skip


def grants_or_runs(path: PurePath) -> str:
    """Return why a file grants rights or runs later by itself; empty: it does not."""
    parts = [part.lower() for part in path.parts]
    for folder, reason in _FOLDERS.items():
        if folder in parts:
            return reason
    joined = "/" + "/".join(parts) + "/"
    for stem, reason in _PATHS.items():
        if f"/{stem.lower()}/" in joined:
            return reason
    return next((reason for name, reason in _NAMES.items() if fnmatch.fnmatchcase(path.name.lower(), name.lower())), "")
