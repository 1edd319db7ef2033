"""An empty cache that nothing fills but what a test asks for."""

import pytest
from sources import use

from ugmm.data.files import mnist as mnist_files


@pytest.fixture
def cache(tmp_path, digests, monkeypatch):
    """An empty cache, small files' digests, and no source but those a test asks for."""
    monkeypatch.setenv("UGMM_DATA_DIR", str(tmp_path))
    monkeypatch.setattr(mnist_files, "DIGESTS", digests)
    use(monkeypatch)
    return tmp_path / "mnist"
