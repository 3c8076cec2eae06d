"""Writes status lines as the embedded model server does; the name of the model selects its behaviour."""

from __future__ import annotations

import signal
import sys

model = sys.argv[1]
if model == "broken":
    sys.stderr.write("no such file: broken.gguf\n")
    sys.exit(1)
if model == "refused":
    print('{"state":"failed","message":"no such model"}', flush=True)
    sys.exit(1)
print('{"state":"loading","fraction":0.5}', flush=True)
print(f'{{"state":"ready","url":"http://127.0.0.1:1/v1","model":"{model}"}}', flush=True)
signal.pause()
