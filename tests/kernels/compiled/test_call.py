"""The record that compiled loops take."""

import runpy
import shutil
from pathlib import Path

from ugmm import kernels


def test_its_type_tells_numbas_cache_when_any_source_has_changed(tmp_path):
    folder = tmp_path / "kernels"
    shutil.copytree(Path(kernels.__file__).parent, folder)

    def last_field():
        return runpy.run_path(str(folder / "compiled" / "call.py"))["CALL"].names[-1]

    found = [last_field(), last_field()]
    assert found[0] == found[1]
    sources = sorted(folder.glob("*/*.py"))
    for source in sources:
        with source.open("a") as file:
            file.write("# another\n")
        found.append(last_field())
    assert len(set(found)) == len(sources) + 1 > 10
