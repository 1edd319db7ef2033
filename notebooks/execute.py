"""Run notebooks from top to bottom and keep their outputs: `python execute.py NOTEBOOK ...`."""

import sys
from pathlib import Path

import nbformat
from nbclient import NotebookClient

for name in sys.argv[1:]:
    path = Path(name)
    notebook = nbformat.read(path, as_version=4)
    # Without the times at which cells ran, which would differ each time.
    client = NotebookClient(notebook, timeout=600, record_timing=False, coalesce_streams=True)
    client.execute(cwd=path.parent)
    nbformat.write(notebook, path)
