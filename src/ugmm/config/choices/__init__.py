"""What an experiment can choose: data sets, models and tasks, and how a choice is declared."""

from ugmm.config.choices.declare import CHOSEN, Choice, choice, declared

__all__ = ["CHOSEN", "Choice", "choice", "declared"]
