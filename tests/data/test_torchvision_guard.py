"""torchvision and lightning can be imported, and a healthy torchvision is left alone."""

import subprocess
import sys
import textwrap

from ugmm import _torchvision


def run(code, *arguments):
    """Run code in a fresh interpreter, where nothing has been imported yet."""
    command = [sys.executable, "-c", textwrap.dedent(code), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_torchvision_and_lightning_can_be_imported_after_it():
    run("""
        import sys
        import ugmm.data
        import torchvision.datasets, torchvision.transforms.v2
        assert "wandb" not in sys.modules
        import lightning, torchmetrics
    """)


def test_a_torchvision_whose_library_loads_is_left_alone(tmp_path):
    (tmp_path / "torchvision").mkdir()
    for name in ("__init__.py", "_C.so"):
        (tmp_path / "torchvision" / name).touch()
    run(
        """
        import sys
        import torch
        sys.path.insert(0, sys.argv[1])
        loaded, library = [], torch.library.Library("torchvision", "DEF")
        def load_library(path):
            loaded.append(path)
            library.define("nms(Tensor real) -> Tensor")
        torch.ops.load_library = load_library
        import ugmm._torchvision
        assert loaded == [sys.argv[1] + "/torchvision/_C.so"]
        assert ugmm._torchvision._LIBRARY is None
        assert "torchvision" not in sys.modules
        """,
        tmp_path,
    )


def test_it_does_nothing_a_second_time_or_where_there_is_no_torchvision(monkeypatch):
    assert _torchvision.declare_missing_operators() is None
    monkeypatch.setattr(_torchvision, "find_spec", lambda name: None)
    assert _torchvision.declare_missing_operators() is None
