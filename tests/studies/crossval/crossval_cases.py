"""A cross-validation of few fits, in parts."""

BASE = {"data": "iris", "folds": 3, "inner_folds": 2, "seeds": [0, 1]}
QDA_ROW = {"baseline": "qda", "grid": {"reg": [0.5, 0.01]}}
