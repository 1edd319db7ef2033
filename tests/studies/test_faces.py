"""What the folders of studies offer, and that asking for it imports no torch."""

import subprocess
import sys

import pytest

import ugmm.studies.ablation
import ugmm.studies.crossval


@pytest.mark.parametrize("face", [ugmm.studies.ablation, ugmm.studies.crossval])
def test_a_face_offers_what_it_names_and_no_more(face):
    for name in face.__all__:
        assert getattr(face, name).__name__ == name
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        face.nothing  # noqa: B018
    code = f"import sys; from {face.__name__} import *; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
