"""Plugins: what goes wrong is one line, and processes that are started have them too."""

import json
import os
import subprocess
import sys

import pytest

from ugmm.cli import main
from ugmm.config.choices import plugins
from ugmm.config.compose import compose
from ugmm.config.frozen import read_config
from ugmm.errors import UserError
from ugmm.runs import Run

PLUGIN = """
from ugmm.baselines import MLP
from ugmm.config import LayeredConfig, choice, key

@choice("model", "NAME", builds=MLP)
class Own(LayeredConfig):
    pass
"""


@pytest.fixture
def plugin(tmp_path, monkeypatch):
    """Write a plugin that declares a model of a name; modules are forgotten after the test."""
    monkeypatch.setenv("UGMM_PLUGINS", "")
    monkeypatch.setattr(sys, "path", list(sys.path))
    names = set(sys.modules)

    def write(name, text=PLUGIN):
        path = tmp_path / f"{name}.py"
        path.write_text(text.replace("NAME", name))
        return path

    yield write
    for name in set(sys.modules) - names:
        if str(tmp_path) in str(getattr(sys.modules[name], "__file__", "")):
            del sys.modules[name]


def test_a_plugin_is_chosen_by_its_name(plugin):
    plugins.use_plugins([plugin("own_net")])
    config = compose("iris_disc", ["model=own_net"])
    assert config.model.hidden == [10, 5]
    assert type(config.model.build(4, 3)).__name__ == "MLP"
    with pytest.raises(UserError, match="unknown choice model=own_nut; did you mean own_net"):
        compose("iris_disc", ["model=own_nut"])


@pytest.mark.parametrize(
    ("name", "text", "line"),
    [
        ("broken", "import nowhere_at_all", "cannot be imported: ModuleNotFoundError: No module"),
        ("cut", "def f(:", "cannot be imported: SyntaxError: "),
        (
            "raising",
            "\nraise RuntimeError('one\\ntwo')",
            "RuntimeError: one two (raising.py, line 2)",
        ),
        (
            "leaving",
            "import sys\nsys.exit(3)",
            "cannot be imported: SystemExit: 3 (leaving.py, line",
        ),
        ("json", "", "has the name of another module"),
        (
            "thief",
            PLUGIN.replace("NAME", "mlp"),
            "declares model=mlp, as ugmm.config",
        ),
    ],
)
def test_what_is_wrong_with_a_plugin_is_one_line(name, text, line, plugin, capsys):
    assert main(["show", "iris_disc", "--plugin", str(plugin(name, text))]) == 1
    error = capsys.readouterr().err
    assert line in error
    assert error.count("\n") == 1


def one_line(command, capsys):
    """Run a command that must fail; returns the one line that it says."""
    assert main(command) == 1
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    return error


@pytest.mark.parametrize(
    ("name", "old", "new", "line"),
    [
        ("misled", '"model", ', '"modle", ', "misled.Own is not a choice of 'modle'; derive"),
        ("crossed", '"model", ', '"data", ', "crossed.Own is not a choice of 'data'; derive"),
        ("nameless", ', "NAME"', "", "nameless.Own has no name; write @choice('model', 'its_"),
        ("free", "Own(LayeredConfig)", "Own", "free.Own is not a choice of 'model'; derive"),
        ("odd", "pass", "width: complex = key(1j)", "model=odd: width: Unexpected type"),
        ("text", "pass", "dropout: float = key('a')", "model=text: dropout: Value 'a' of type"),
        ("bound", "pass", "dropout: float = key(0, lo=1)", "an unexpected keyword argument 'lo'"),
        ("asking", "pass", "dropout: float = key()", "model.dropout has no value; set it"),
        ("grave", "pass", "def __post_init__(self): raise ValueError('no')", "configuration: no"),
        ("placed", "pass", "where: Path = key(Path('a'))", "where: Object of type PosixPath is"),
    ],
)
def test_what_is_wrong_with_a_declaration_is_one_line(name, old, new, line, plugin, capsys):
    path = plugin(name, f"from pathlib import Path\n{PLUGIN.replace(old, new)}")
    command = ["show", "iris_disc", "--plugin", str(path), f"model={name}"]
    assert line in one_line(command, capsys)


def test_a_key_without_a_default_is_required_and_can_be_set(plugin):
    plugins.use_plugins(plugin("own_key", PLUGIN.replace("pass", "dropout: float = key()")))
    assert compose("iris_disc", ["model=own_key", "model.dropout=0.5"]).model.dropout == 0.5


@pytest.mark.parametrize(
    ("name", "old", "new", "line"),
    [
        ("far", "=MLP", "='nowhere.at:All'", "builds 'nowhere.at:All', which cannot be imported"),
        ("near", "=MLP", "='ugmm.nn:Nope'", "imported (module 'ugmm.nn' has no attribute 'Nope'"),
        ("empty", ", builds=MLP", "", "empty.Own builds '', which cannot be imported"),
        ("red", "pass", "colour: int = key(3)", "MLP does not take what red.Own hands to it (got"),
        ("bare", "=MLP", "=lambda sizes: {}", "model=bare builds a dict, which is no ugmm.nn"),
    ],
)
def test_a_model_that_cannot_be_built_is_one_line(
    name, old, new, line, plugin, capsys, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    path = plugin(name, PLUGIN.replace(old, new))
    command = ["train", "iris_disc", "--plugin", str(path), f"model={name}"]
    assert line in one_line(command, capsys)
    assert not (tmp_path / "runs").exists()


DATA = """
from ugmm.config import DataConfig, choice
from ugmm.data import InMemoryDataModule

class Rows(InMemoryDataModule):
    n_features, n_classes = 2, 2
    def load(self):
        return {}

@choice("data", "NAME", builds=Rows)
class RowsConfig(DataConfig):
    pass
"""


@pytest.mark.parametrize(
    ("name", "old", "new", "line"),
    [
        ("unread", "def load", "def lode", "Rows must define load"),
        ("unsized", "n_features, n_classes = 2, 2", "", "Rows must state n_features and n_class"),
        ("unasked", "n_features, n_classes = 2, 2", "n_features = 2", "Rows must state n_classes"),
        ("wrong", "    pass", "    has_target = True", "data=wrong has a number to predict; use"),
        ("rowless", "=Rows", "=lambda batch_size, seed: {}", "data=rowless builds a dict, which"),
    ],
)
def test_data_that_is_no_data_module_is_one_line(
    name, old, new, line, plugin, capsys, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    path = plugin(name, DATA.replace(old, new))
    command = ["train", "iris_disc", "--plugin", str(path), f"data={name}"]
    assert line in one_line(command, capsys)
    assert not (tmp_path / "runs").exists()


def test_a_missing_plugin_is_one_line(tmp_path, capsys):
    for path in (tmp_path / "none.py", tmp_path):
        assert main(["show", "iris_disc", "--plugin", str(path)]) == 1
        assert f"no such plugin: {path}; name a Python file" in capsys.readouterr().err


def test_settings_may_follow_the_option(plugin, capsys):
    path = str(plugin("own_after"))
    assert main(["show", "iris_disc", "seed=3", "--plugin", path, "model=own_after"]) == 0
    shown = capsys.readouterr().out
    assert "name: own_after" in shown
    assert "seed: 3" in shown


def test_a_run_records_its_plugins_and_misses_them(plugin, train, capfd, monkeypatch):
    path = plugin("own_run")
    plugins.use_plugins([path])
    run = train("iris_disc", "model=own_run")
    (record,) = [r for r in run.read_environment()["plugins"] if r["name"] == "own_run.py"]
    assert read_config(run).model.name == "own_run"
    here = [r for r in plugins.plugin_records() if r["name"] != "own_run.py"]
    monkeypatch.setattr(plugins, "plugin_records", lambda: here)
    assert main(["eval", str(run.folder)]) == 1
    error = capfd.readouterr().err
    assert "was made with the plugin own_run.py, which is not loaded; name it by" in error
    assert error.count("\n") == 1
    monkeypatch.setattr(plugins, "plugin_records", lambda: [*here, {**record, "sha256": "0"}])
    plugins.check_plugins([record], "the run")
    assert "the plugin own_run.py has changed since the run was made" in capfd.readouterr().err


@pytest.mark.parametrize("records", [3, [3], [{"sha256": "0"}]])
def test_damaged_records_are_one_line(records):
    with pytest.raises(UserError, match=r"environment\.json of the run are damaged; mend or"):
        plugins.check_plugins(records, "the run")


def test_workers_of_an_ablation_have_it_too(plugin, tmp_path, capsys):
    path = plugin("own_points")
    ablation = tmp_path / "mine.yaml"
    settings = {"tracking.mode": "disabled", "runs_dir": f"{tmp_path}/runs"}
    content = {
        "experiment": "iris_disc",
        "seeds": [0],
        "set": {**settings, "trainer.max_epochs": 2, "trainer.accelerator": "cpu"},
        "variants": {"own": {"model": "own_points"}, "ugmm": {}},
    }
    ablation.write_text(json.dumps(content))
    assert main(["ablate", str(ablation), "--plugin", str(path)]) == 0, capsys.readouterr()
    (folder,) = (tmp_path / "runs/mine").glob("own_*")
    recorded = Run.open(folder).read_environment()["plugins"]
    assert "own_points.py" in [record["name"] for record in recorded]


def test_an_installed_package_is_found(tmp_path, monkeypatch):
    package = tmp_path / "installed_choices"
    package.mkdir()
    (package / "__init__.py").write_text(PLUGIN.replace("NAME", "installed_net"))
    info = tmp_path / "installed_choices-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: own\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[ugmm.plugins]\nmine = installed_choices\n")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), *sys.path]))
    script = (
        "from ugmm.config.choices import declared, plugins\n"
        "print('installed_net' in declared('model'), plugins.plugin_records()[0]['name'])"
    )
    command = [sys.executable, "-c", script]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.stdout == "True mine\n", done.stderr
