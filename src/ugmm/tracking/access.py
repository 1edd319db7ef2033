"""Whether Weights & Biases can be used and reached, with the settings at hand."""

import configparser
import io
import os
import socket
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, redirect_stderr, suppress
from pathlib import Path
from urllib.parse import urlsplit

import wandb

from ugmm.errors import UserError
from ugmm.tracking.mode import asked_mode

__all__ = ["explain", "faulty_variables", "in_one_line", "obstacle", "resolve_mode", "without"]

_CONNECT_SECONDS = 3
_NO_ACCOUNT = "no W&B account is configured on this machine"
_SPECIAL = ("anonymous", "ignore_globs", "root_dir", "settings_system")  # W&B reads them otherwise


def resolve_mode(mode: str) -> tuple[str, str]:
    """Turn a `tracking.mode` into `online`, `offline` or `disabled`, and say why it is offline.

    Returns:
        The mode, and what is amiss with the settings or the server; "" if nothing is, or if there
        simply is no account.

    Raises:
        UserError: If the mode is `online` and W&B cannot be reached.
    """
    mode, asked = asked_mode(mode)
    if mode in ("offline", "disabled"):
        return mode, ""
    reason = obstacle()
    if reason is None:
        return "online", ""
    if mode == "online" and not reason.startswith(asked):  # WANDB_MODE=ONLINE is not understood
        remedy = "run 'wandb login'" if reason == _NO_ACCOUNT else "mend that"
        raise UserError(f"{asked}=online: {reason}; {remedy}, or use tracking.mode=offline")
    return "offline", "" if reason == _NO_ACCOUNT else reason


def obstacle() -> str | None:
    """Say what keeps W&B from being reached, within seconds; None if nothing does."""
    if complaints := [*faulty_variables().values(), *_damaged_files()]:
        return complaints[0]
    try:
        with redirect_stderr(io.StringIO()):
            if not wandb.login(prompt=False, verify=False):
                return _NO_ACCOUNT
        url = urlsplit(os.environ.get("WANDB_BASE_URL") or wandb.setup().settings.base_url)
    except Exception as error:  # of wandb, pydantic, requests, netrc: whatever it finds amiss
        return explain(error)
    port = url.port or (443 if url.scheme == "https" else 80)
    try:
        socket.create_connection((url.hostname or "", port), _CONNECT_SECONDS).close()
    except (OSError, UnicodeError) as error:  # UnicodeError: no name that a host can have
        return f"no connection to {url.hostname} ({error})"
    return None


def faulty_variables() -> dict[str, str]:
    """Return the variables of the environment that W&B refuses, each with its complaint."""
    found = {}
    for name, value in os.environ.items():
        if not name.startswith("WANDB_"):
            continue
        try:
            wandb.Settings().update_from_env_vars({name: value})
        except Exception as error:
            shown = "" if "KEY" in name else f"={value}"
            found[name] = f"{name}{shown} is of no use to W&B ({explain(error)})"
    return found


def _damaged_files() -> Iterator[str]:
    """Complain about each of W&B's settings files that W&B would leave aside, or stumble over."""
    named = os.environ.get("WANDB_CONFIG_DIR") or "~/.config/wandb"
    folder = Path(os.path.expanduser(named))  # Path's own raises where an account has no home
    for path in (folder / "settings", Path(wandb.Settings().settings_workspace)):
        parser = configparser.ConfigParser()
        try:
            parser.read(path, encoding="utf-8")
            section = dict(parser["default"]) if "default" in parser else {}
            wandb.Settings(**{k: v for k, v in section.items() if k not in _SPECIAL})  # type: ignore[arg-type]
        except Exception as error:
            yield f"W&B's settings file {path} is damaged ({explain(error)})"


def explain(error: Exception) -> str:
    """Return the reason of an error of W&B, or of what it uses, in one line."""
    with suppress(AttributeError, IndexError, KeyError, TypeError):
        return str(error.errors()[0]["msg"])  # type: ignore[attr-defined]  # of pydantic
    text = " ".join(str(error).split()).rstrip(".") or type(error).__name__
    return text if len(text) <= 300 else f"{text[:300]}..."


@contextmanager
def in_one_line(what: str, remedy: str) -> Iterator[None]:
    """Make any error of the body, which asks something of W&B, one line.

    Raises:
        UserError: Of that line.
    """
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        raise UserError(f"{what}: {explain(error)}; {remedy}") from error


@contextmanager
def without(names: Iterable[str]) -> Iterator[None]:
    """Leave variables out of the environment while the body runs."""
    hidden = {name: os.environ.pop(name) for name in names if name in os.environ}
    try:
        yield
    finally:
        os.environ |= hidden
