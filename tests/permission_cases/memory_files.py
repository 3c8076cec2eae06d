"""A small project in memory, as the permission engine sees it."""

from __future__ import annotations

import fnmatch
from collections.abc import Sequence
from typing import Literal

ROOT, HOME = "/home/ada/project", "/home/ada"
_FILES = """
README.md Makefile package.json pyproject.toml Dockerfile notes.txt data.csv data.txt data.json config.ini .env
.env.example .gitignore server.pem src/app.py src/a.py src/b.py src/secrets.yaml tests/test_app.py scripts/deploy.sh
scripts/push.sh scripts/lint.sh .git/config .git/hooks/pre-commit .github/workflows/ci.yml .syntor/config.yaml
node_modules/.bin/tsc node_modules/.bin/eslint node_modules/.bin/prettier node_modules/.bin/jest build/out.o
dist/app.bin app.log
"""
_OUTSIDE = "other/file.txt .ssh/id_rsa .bashrc notes.md"
_SYSTEM = "/etc/passwd /etc/hosts /usr/include/stdio.h"


class MemoryFiles:
    """Files by path; `links` lead elsewhere."""

    root, home = ROOT, HOME

    def __init__(self) -> None:
        inside = (f"{ROOT}/{name}" for name in _FILES.split())
        outside = (f"{HOME}/{name}" for name in _OUTSIDE.split())
        self.texts = dict.fromkeys((*inside, *outside, *_SYSTEM.split()), "")
        self.texts[f"{ROOT}/scripts/push.sh"] = "#!/bin/sh\nset -e\ngit push origin main\n"
        self.links = {
            f"{ROOT}/innocent.txt": f"{ROOT}/.env",
            f"{ROOT}/out": f"{HOME}/other",
            f"{ROOT}/hook": f"{ROOT}/.git/hooks/pre-commit",
        }

    def kind(self, path: str) -> Literal["file", "folder", "device", ""]:
        if path in self.texts or path in self.links:
            return "file"
        return "folder" if any(name.startswith(path.rstrip("/") + "/") for name in self.texts) else ""

    def resolved(self, path: str) -> str:
        for link, target in self.links.items():
            if path == link or path.startswith(link + "/"):
                return target + path[len(link) :]
        return path

    def matches(self, pattern: str) -> Sequence[str]:
        return [name for name in self.texts if fnmatch.fnmatchcase(name, pattern)]

    def text(self, path: str) -> str | None:
        return self.texts.get(self.resolved(path))
