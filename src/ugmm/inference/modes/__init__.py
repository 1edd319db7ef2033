"""The most probable completion of rows (MPE): screened, climbed to, never downwards."""

from ugmm.inference.modes.search import Mode, mpe

__all__ = ["Mode", "mpe"]
