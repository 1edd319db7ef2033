"""What tests of cross-validations share: one that is written and run."""

import json

import pytest
from crossval_cases import BASE

from ugmm.cli import main


@pytest.fixture
def crossval(project, capsys):
    """Write a cross-validation and run it; returns its folder, or the error's line."""

    def crossval(models, *arguments, **keys):
        path = project / "mine.yaml"
        path.write_text(json.dumps({**BASE, **keys, "models": models}))
        code = main(["crossval", str(path), *(arguments or ("--jobs", "1"))])
        output = capsys.readouterr()
        if code:
            return output.err
        folder = project / "runs/crossval/mine"
        assert str(folder.relative_to(project)) in output.out
        return folder

    return crossval
