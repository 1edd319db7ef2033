"""Weights & Biases: which mode is taken, whatever is amiss with its settings or its server."""

import pytest
import wandb

from ugmm.cli import main
from ugmm.errors import UserError
from ugmm.runs import Run
from ugmm.tracking import access
from ugmm.tracking.access import explain, obstacle, resolve_mode
from wandb_server import WandbServer

KEY = "0123456789" * 4
CLOSED = "http://127.0.0.1:9"

# What is set, and what must be said of it.
FAULTS = {
    "a short key": ({"WANDB_API_KEY": "abc"}, "40. characters"),
    "a key with a blank": ({"WANDB_API_KEY": f"local-{KEY} x"}, "API key"),
    "no scheme": ({"WANDB_BASE_URL": "localhost:8080"}, "WANDB_BASE_URL=localhost:8080"),
    "a bad port": ({"WANDB_BASE_URL": "http://localhost:99999"}, "invalid port number"),
    "a bad host": ({"WANDB_BASE_URL": f"http://{'x' * 70}.org"}, "no connection to xxx"),
    "no server": ({"WANDB_BASE_URL": CLOSED}, r"no connection to 127\.0\.0\.1"),
    "an odd mode": ({"WANDB_MODE": "sometimes"}, "WANDB_MODE=sometimes"),
    "a mode in capitals": ({"WANDB_MODE": "ONLINE"}, "WANDB_MODE=ONLINE"),
    "an odd number": ({"WANDB_HTTP_TIMEOUT": "soon"}, "WANDB_HTTP_TIMEOUT=soon"),
}
FILES = {
    "no section": (b"base_url = x", "no section headers"),
    "not text": (b"[default]\nentity = \xff\xfe", "can't decode"),
    "a bad address": (b"[default]\nbase_url = localhost:8080", "URL scheme"),
    "a bad mode": (b"[default]\nmode = sometimes", "'online', 'offline'"),
}


@pytest.fixture
def clean(monkeypatch, tmp_path):
    """No settings of W&B but the test's own, as far as wandb can tell."""
    for name in [name for name in access.os.environ if name.startswith("WANDB_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("WANDB_SILENT", "true")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    wandb.teardown()
    yield monkeypatch
    wandb.teardown()


@pytest.fixture
def account(clean):
    clean.setenv("WANDB_API_KEY", KEY)
    return clean


def break_file(tmp_path, content, where):
    place = tmp_path / where
    place.parent.mkdir(parents=True)
    place.write_bytes(content)


@pytest.mark.parametrize(
    ("mode", "taken"),
    [("offline", "offline"), ("disabled", "disabled"), ("off", "disabled")],
)
def test_what_is_asked_for_is_taken(clean, mode, taken):
    assert resolve_mode(mode) == (taken, "")


def test_without_an_account_auto_is_offline_and_online_an_error(clean):
    assert resolve_mode("auto") == ("offline", "")
    with pytest.raises(UserError, match="no W&B account is configured"):
        resolve_mode("online")


@pytest.mark.parametrize(
    ("asked", "taken"),
    [
        ("online", "online"),
        ("offline", "offline"),
        ("dryrun", "offline"),
        ("disabled", "disabled"),
    ],
)
def test_auto_follows_the_environment(account, asked, taken):
    account.setattr(access, "obstacle", lambda: None)
    account.setenv("WANDB_MODE", asked)
    assert resolve_mode("auto") == (taken, "")


@pytest.mark.parametrize("fault", FAULTS)
def test_whatever_is_amiss_auto_is_offline_and_online_one_line(account, fault):
    settings, said = FAULTS[fault]
    for name, value in settings.items():
        account.setenv(name, value)
    mode, reason = resolve_mode("auto")
    assert mode == "offline"
    with pytest.raises(UserError, match=said) as error:
        resolve_mode("online")
    assert reason in str(error.value)
    assert "tracking.mode=offline" in str(error.value)
    assert "\n" not in str(error.value)
    assert KEY not in str(error.value)


@pytest.mark.parametrize("where", [".config/wandb/settings", "wandb/settings"])
@pytest.mark.parametrize("damage", FILES)
def test_a_damaged_settings_file_is_named(account, tmp_path, damage, where, capfd):
    content, said = FILES[damage]
    break_file(tmp_path, content, where)
    mode, reason = resolve_mode("auto")
    assert mode == "offline"
    assert where in reason
    assert said in reason
    assert capfd.readouterr() == ("", "")


def test_an_account_without_a_home_is_offline(clean):
    clean.setenv("WANDB_CONFIG_DIR", "~nobody_of_this_name/wandb")
    assert resolve_mode("auto") == ("offline", "Could not determine home directory")


def test_a_good_settings_file_is_no_obstacle(account, tmp_path):
    with WandbServer() as server:
        break_file(
            tmp_path, f"[default]\nbase_url = {server.url}\n".encode(), ".config/wandb/settings"
        )
        assert obstacle() is None


@pytest.mark.parametrize(
    "settings",
    [
        {"WANDB_API_KEY": "abc"},
        {"WANDB_BASE_URL": "localhost:8080"},
        {"WANDB_MODE": "sometimes"},
        {"file": b"[default]\nentity = \xff\xfe"},
    ],
)
def test_a_run_goes_offline_with_one_line(account, train_quietly, tmp_path, settings):
    for name, value in settings.items():
        if name == "file":
            break_file(tmp_path, value, ".config/wandb/settings")
        else:
            account.setenv(name, value)
    out, err = train_quietly("tracking.mode=auto")
    told = [line for line in out.splitlines() if "W&B" in line]
    assert len(told) == 1
    assert err == ""
    (folder,) = (tmp_path / "runs").glob("*/*")
    assert Run.open(folder).read_summary()
    tracked = list(folder.glob("wandb/offline-run-*"))
    assert len(tracked) == ("file" not in settings)
    assert ("is offline (" in told[0]) == bool(tracked)


@pytest.mark.parametrize("setting", ["tracking.mode=off", "tracking.mode=disabled"])
def test_off_is_disabled(clean, train_quietly, tmp_path, setting):
    train_quietly(setting)
    (folder,) = (tmp_path / "runs").glob("*/*")
    assert not (folder / "wandb").exists()


@pytest.fixture
def train_quietly(monkeypatch, tmp_path, capfd):
    """Train two epochs; returns what was printed on both streams."""
    monkeypatch.setattr("ugmm.training.run.draw_run", lambda *_, **__: [])

    def train(*overrides):
        code = main(
            ["train", "iris_disc", f"runs_dir={tmp_path}/runs", "trainer.max_epochs=2",
             "trainer.accelerator=cpu", *overrides]
        )  # fmt: skip
        out, err = capfd.readouterr()
        assert code == 0, err
        return out, err

    return train


@pytest.mark.parametrize(
    "error",
    [
        wandb.errors.CommError("a\nb"),
        wandb.errors.AuthenticationError("no"),
        ValueError(),
        RuntimeError("x" * 5000),
    ],
)
def test_any_error_is_one_line(error):
    text = explain(error)
    assert text
    assert "\n" not in text
    assert len(text) < 400
