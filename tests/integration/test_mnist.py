"""MNIST itself: it trains, in bfloat16 too, and what keeps it from training is one line."""

import shutil

import pytest

import ugmm
from ugmm.data import MNISTDataModule

SHORT = ("mnist_disc", "trainer.max_epochs=2", "model.dropout=0", "model.input_dropout=0")


@pytest.fixture(scope="module")
def mnist():
    """Fetch the data set, if it is not in the cache yet."""
    data = MNISTDataModule()
    data.prepare_data()
    data.setup()
    return data


def test_a_batch_is_trained_tested_and_drawn(ugmm_command, mnist):
    ugmm_command("train", *SHORT, "trainer.precision=bf16-mixed", "trainer.fast_dev_run=true")
    (run,) = ugmm_command.all_runs()
    assert 0 <= run.read_summary()["test/accuracy"] <= 1
    assert {path.stem for path in run.plots.iterdir()} >= {"neurons", "first_layer"}


@pytest.mark.slow
def test_bfloat16_trains_as_well_as_float32(ugmm_command, mnist):
    for precision in ("32-true", "bf16-mixed"):
        ugmm_command("train", *SHORT, f"trainer.precision={precision}")
    full, half = ugmm_command.all_runs()
    accuracy = full.read_summary()["test/accuracy"]
    assert accuracy > 0.94
    assert half.read_summary()["test/accuracy"] == pytest.approx(accuracy, abs=0.005)
    assert {path.stem for path in full.plots.iterdir()} >= {"neurons", "first_layer"}

    x, y = mnist.splits["test"]
    names = ugmm.load(full.folder).predict(x)
    assert (names.astype(int) == y.numpy()).mean() == pytest.approx(accuracy)


OFFLINE = {
    "PIP_CONFIG_FILE": "/dev/null",
    "PIP_INDEX_URL": "http://127.0.0.1:9/simple",
    "PIP_EXTRA_INDEX_URL": "",
    "PIP_FIND_LINKS": "",
    "PIP_RETRIES": "0",
    "http_proxy": "http://127.0.0.1:9",
    "https_proxy": "http://127.0.0.1:9",
}


def test_no_network_and_no_cache_is_one_line(ugmm_command, tmp_path):
    folder = str(tmp_path / "cache")
    output = ugmm_command("train", *SHORT, code=1, UGMM_DATA_DIR=folder, **OFFLINE)
    (line,) = [line for line in output.splitlines() if "ugmm: error" in line]
    assert folder in line
    assert "Traceback" not in output


def test_a_truncated_file_is_reported_and_needs_the_network(ugmm_command, mnist, tmp_path):
    from ugmm.data.files.cache import cache_folder

    cache = tmp_path / "cache"
    shutil.copytree(cache_folder("mnist"), cache / "mnist")
    file = next(path for path in (cache / "mnist").iterdir() if "t10k-labels" in path.name)
    file.write_bytes(file.read_bytes()[:-1])
    output = ugmm_command("train", *SHORT, code=1, UGMM_DATA_DIR=str(cache), **OFFLINE)
    assert file.name in output
    assert "Traceback" not in output
    assert not file.exists()
