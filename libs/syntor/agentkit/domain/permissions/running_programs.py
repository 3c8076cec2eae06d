"""Programs that run other programs or code, as tables: their options, and what stands before the command."""

from __future__ import annotations

import re

SHELLS = frozenset({"sh", "bash", "zsh", "dash", "ksh", "mksh", "ash", "fish", "rbash", "yash", "csh", "tcsh"})
CODE_OPTIONS = {
    "python": "c", "pypy": "c", "perl": "eE", "ruby": "e", "node": "ep", "nodejs": "ep", "php": "rBRE", "lua": "e",
    "luajit": "e",
    "bun": "ep", "deno": "", "R": "e", "Rscript": "e", "julia": "eE", "osascript": "e", "tclsh": "", "groovy": "e",
    "ghc": "e",
    "elixir": "e", "guile": "c", "gdb": "", "expect": "c", "pwsh": "c", "swift": "e", "sqlite3": "", "psql": "c",
    "mysql": "e",
}  # fmt: skip
"""Interpreters, and the letters of options whose value is code."""
INTERPRETER = re.compile(r"(python|pypy|perl|ruby|lua|php|node|julia|tclsh)\d[\d.]*\Z")

PREFIXES: dict[str, tuple[str, int]] = {
    # name: options with a value of their own, arguments before the command
    "command": ("", 0), "builtin": ("", 0), "exec": ("-a", 0), "nohup": ("", 0), "setsid": ("", 0), "coproc": ("", 0),
    "time": ("-f -o --format --output", 0), "nice": ("-n --adjustment", 0),
    "ionice": ("-c -n -p --class --classdata", 0),
    "timeout": ("-s -k --signal --kill-after", 1), "gtimeout": ("-s -k --signal --kill-after", 1),
    "stdbuf": ("-i -o -e --input --output --error", 0),
    "chroot": ("--userspec --groups", 1),
    "sudo": ("-u -g -h -p -C -r -t -T -U -D -R --user --group --host --prompt --chdir", 0),
    "doas": ("-u -C", 0), "pkexec": ("--user", 0), "run0": ("-u --user", 0),
    "strace": ("-e -o -s -p -u -E -a -I -O -S -P -b", 0), "ltrace": ("-e -o -s -p -u -a -l -n -x", 0),
    "unshare": ("-S -G -R -w --map-user", 0),
    "nsenter": ("-t -S -G --target", 0), "taskset": ("", 1), "chrt": ("-T -P -D", 1),
    "numactl": ("-N -m -C -i -p", 0), "setarch": ("", 1),
    "fakeroot": ("-l -s -i -b", 0), "proot": ("-r -b -w -q", 0), "bwrap": ("", 0), "firejail": ("", 0),
    "xvfb-run": ("-n -e -f -p -s -w", 0),
    "dbus-run-session": ("", 0), "busybox": ("", 0), "toybox": ("", 0), "caffeinate": ("-t -w", 0),
    "catchsegv": ("", 0),
    "systemd-run": ("-p -u -H -M -E --unit --property --uid --gid", 0), "daemonize": ("-c -e -o -p -l -u -E", 0),
    "unbuffer": ("", 0),
    "prlimit": ("-p", 0), "setpriv": ("", 0), "runuser": ("-u -g -G", 0), "ld.so": ("", 0), "ssh-agent": ("-t -a", 0),
    "chpst": ("-u -e -n", 0),
    "entr": ("", 0), "watchexec": ("-w -e -i -f", 0), "nodemon": ("-w -e -i --watch --ext --ignore", 0),
    "hyperfine": ("-w -r -n -s -p", 0), "valgrind": ("", 0),
    "perf": ("", 1), "rlwrap": ("", 0), "faketime": ("", 1), "direnv": ("", 2), "tini": ("", 0), "dumb-init": ("", 0),
    "linux64": ("", 0),
    "torsocks": ("", 0), "proxychains": ("-f", 0), "proxychains4": ("-f", 0), "op": ("--env-file", 1),
    "doppler": ("-p -c", 1), "dotenv": ("-e -f", 0), "cross-env": ("", 0), "dotenvx": ("-f", 1),
}  # fmt: skip
RUNNERS: dict[str, tuple[tuple[str, ...], str]] = {
    # program: its words that mean "run", options with a value of their own
    "uv": (("run",), "--with --python -p --directory --project --extra --group --env-file --package --index"),
    "poetry": (("run",), "-C --directory -P --project"), "pipenv": (("run",), ""), "pdm": (("run",), "-p"),
    "hatch": (("run",), "-e"),
    "rye": (("run",), ""), "bundle": (("exec",), ""), "npm": (("exec", "x"), "--prefix -w --workspace -p --package"),
    "pnpm": (("exec", "dlx"), "-C --dir --filter"),
    "yarn": (("exec", "dlx"), "--cwd -p"), "bun": (("x",), "--cwd"), "conda": (("run",), "-n -p --name --prefix"),
    "mamba": (("run",), "-n -p"),
    "pixi": (("run",), "-e"), "mise": (("exec", "x"), ""), "asdf": (("exec",), ""), "rustup": (("run",), ""),
    "nix": (("develop", "shell"), ""),
    "npx": ((), "-p --package -c --call"), "pnpx": ((), ""), "bunx": ((), ""),
    "uvx": ((), "--from --with --python -p"), "pipx": (("run",), "--spec --python"),
}  # fmt: skip
CONTAINERS = frozenset({"docker", "podman", "nerdctl", "docker-compose", "podman-compose", "kubectl", "oc"})
CONTAINER_VALUES = frozenset(
    [
        "-e",
        "-v",
        "-u",
        "-w",
        "-p",
        "-l",
        "-h",
        "-m",
        "-n",
        "-c",
        "-f",
        "-a",
        "--env",
        "--volume",
        "--user",
        "--workdir",
        "--publish",
        "--name",
        "--network",
        "--mount",
        "--entrypoint",
        "--env-file",
        "--platform",
        "--memory",
        "--cpus",
        "--hostname",
        "--label",
        "--add-host",
        "--device",
        "--cap-add",
        "--file",
        "--project-name",
        "--profile",
        "--namespace",
        "--context",
        "--container",
        "--index",
        "--pid",
        "--ipc",
        "--security-opt",
        "--tmpfs",
        "--ulimit",
        "--gpus",
        "--restart",
        "--image",
        "--filename",
    ]
)
CODE_RISK = re.compile(
    r"\bsystem\b|\bexecute\b|\bspawn\b|open\([^)]*\||subprocess|popen|\bpty\b|\bexec[lv]?[pe]*\b|spawn|child_process|\bqx\b|\bunlink|"
    r"rmtree|\bremove(dirs)?\(|\brmdir|shutil\.(move|copy|rmtree)|\bsocket\b|urllib|requests\b|"
    r"\beval\b|__import__|importlib|base64|"
    r"open\([^)]*,\s*(mode=)?['\"][wax+]|write_text|write_bytes|\bfs\.|writeFile|\brename|\btruncate|"
    r"\bfork\b|ctypes|marshal|pickle|getattr\(|globals\(|compile\(|Deno\.|Bun\.|fetch\(|\bkill\b|"
    r"File\.(write|delete|open)|IO\.|`"
)
"""What code of other languages needs to run programs or to change files."""


def interpreter(name: str) -> str:
    """Return the language of an interpreter's name; empty: it is none."""
    found = INTERPRETER.match(name)
    known = found[1] if found else name
    return known if known in CODE_OPTIONS else ""
