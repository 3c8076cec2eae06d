"""Memory of a whole stack, its start-up time, and the CPU time of the command line.

RSS counts pages shared between processes once per process; PSS counts each page once. Both are printed.
"""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

import msgspec

from syntor.testing.local_stack import LocalStack

TARGET_RSS_MIB, TARGET_READY_S, TARGET_HELP_MS = 350, 3.0, 200.0


def main() -> None:
    """Measure a stack that has completed one run, and the command line."""
    with tempfile.TemporaryDirectory(prefix="syntor-bench-") as folder:
        stack = LocalStack(Path(folder), environ={"SYNTOR_SCRIPT": ""})  # a default home: no hand-written file
        stack.up()
        try:
            done = stack.syntor("worker", "hello")
            if done.returncode != 0:
                raise RuntimeError(f"the run failed: {done.stderr}")
            _print_memory(stack)
            again = _restart(stack)
        finally:
            stack.down()
    print(
        f"ready in {stack.ready_s:.2f} s at the first start, {again:.2f} s at the second (target {TARGET_READY_S:g} s)"
    )
    python_ms = cpu_of_python()
    for arguments in (("--version",), ("--help",)):
        cpu_ms = cpu_of_command(*arguments)
        ratio = f"ratio {cpu_ms / python_ms:.1f} to the baseline, a bare Python ({python_ms:.0f} ms)"
        print(f"syntor {arguments[0]:10} {cpu_ms:6.0f} ms CPU, {ratio}")
    print(f"target of --help: {TARGET_HELP_MS:g} ms CPU")


def _restart(stack: LocalStack) -> float:
    first = stack.ready_s
    stack.down()
    stack.up()
    again, stack.ready_s = stack.ready_s, first
    return again


def _print_memory(stack: LocalStack) -> None:
    names = {service["pid"]: service["name"] for service in stack.status()["services"] if service["pid"]}
    supervisor: int = msgspec.json.decode((stack.home / "run" / "stack.json").read_bytes())["pid"]
    names[supervisor] = "supervisor"
    memory = memory_of(list(names))
    for pid, used in memory.items():
        print(f"{names[pid]:22}{used.rss:7.1f} MiB RSS{used.pss:7.1f} MiB PSS")
    rss, pss = sum(used.rss for used in memory.values()), sum(used.pss for used in memory.values())
    print(f"{'whole stack':22}{rss:7.1f} MiB RSS{pss:7.1f} MiB PSS (target {TARGET_RSS_MIB} MiB RSS)")


class Memory(msgspec.Struct):
    """Memory of processes, in MiB."""

    rss: float = 0.0
    pss: float = 0.0


def memory_of(pids: list[int]) -> dict[int, Memory]:
    """Return resident and proportional memory of each process (Linux)."""
    found: dict[int, Memory] = {}
    for pid in pids:
        fields = dict(
            line.split(":", 1) for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines() if ":" in line
        )
        found[pid] = Memory(int(fields["Rss"].split()[0]) / 1024, int(fields["Pss"].split()[0]) / 1024)
    return found


def cpu_of_command(*arguments: str, repeat: int = 5) -> float:
    """Return the least CPU milliseconds, user and system, of `syntor ARGUMENTS` over `repeat` runs."""
    best = float("inf")
    command = [str(Path(sys.executable).parent / "syntor"), *arguments]
    for _ in range(repeat):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run(command, stdout=subprocess.DEVNULL, check=True, env=os.environ)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        best = min(best, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    return best * 1000


def cpu_of_python(repeat: int = 5) -> float:
    """Return the least CPU milliseconds of a Python that does nothing: the baseline of any command."""
    best = float("inf")
    for _ in range(repeat):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([sys.executable, "-c", "pass"], check=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        best = min(best, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    return best * 1000
