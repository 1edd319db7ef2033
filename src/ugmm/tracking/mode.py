"""What is asked for: known without wandb, whose import takes a quarter of a second."""

import os

__all__ = ["asked_mode"]

_SYNONYMS = {"dryrun": "offline", "run": "online", "off": "disabled"}


def asked_mode(mode: str) -> tuple[str, str]:
    """Return the mode that a `tracking.mode` asks for, in W&B's own words, and where that is said.

    Returns:
        `online`, `offline`, `disabled`, `auto` or what else WANDB_MODE says; and "WANDB_MODE"
        where it is that which says it, else "tracking.mode".
    """
    asked = "tracking.mode"
    if mode == "auto" and (wanted := os.environ.get("WANDB_MODE", "")):
        asked, mode = "WANDB_MODE", wanted.lower()
    return _SYNONYMS.get(mode, mode), asked
