"""A hand-written file is read the same in any number of threads."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

_READ = """
import sys, threading
from pathlib import Path
sys.setswitchinterval(1e-6)
from syntor.models.scripted import read_script
together = threading.Barrier(8)
def read():
    together.wait()
    read_script(Path(sys.argv[1]))
threads = [threading.Thread(target=read) for _ in range(8)]
for thread in threads: thread.start()
for thread in threads: thread.join()
"""


def test_the_first_read_of_a_form_may_come_from_several_threads(tmp_path: Path) -> None:
    script = tmp_path / "script.yaml"
    script.write_text("rules:\n  - match: hello\n    text: hi\n    tool_calls: [{name: fly, arguments: {}}]\n")
    for _ in range(5):
        assert subprocess.run([sys.executable, "-c", _READ, str(script)], check=False, timeout=60).returncode == 0
