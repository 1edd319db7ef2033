"""The table of a run's results."""

from rich.console import Console

from ugmm.report import lost_classes, metrics_table


def _cells(table):
    return list(zip(*(map(str, column.cells) for column in table.columns), strict=True))


def test_rows_are_ordered_and_formatted():
    summary = {
        "test/zeta": 12345.6,
        "test/nll": 0.5,
        "val/nll": 1234.4,
        "train/loss": 0.01,
        "test/accuracy": 0.98345,
        "val/epoch": 12.0,
        "val/ece": 0.0012345,
        "test/score": -12.3456,
        "parameters": 7,
    }
    assert _cells(metrics_table(summary)) == [
        ("accuracy", "–", "98.34%"),  # noqa: RUF001
        ("nll", "1234", "0.5000"),
        ("ece", "0.001234", "–"),  # noqa: RUF001
        ("score", "–", "-12.35"),  # noqa: RUF001
        ("epoch", "12", "–"),  # noqa: RUF001
        ("zeta", "–", "1.235e+04"),  # noqa: RUF001
    ]


def test_classes_of_which_no_row_is_right_are_named_loudly():
    assert lost_classes(["a", "b", "never"], [[3, 1, 0], [0, 1, 0], [0, 0, 0]]) is None
    line = lost_classes(["spam", "ham"], [[0, 1392], [0, 9]])
    assert line.startswith(
        "WARNING: in the test, no row of class 'spam' (0 of 1,392) was classified correctly,"
    )
    counts = [[0, 0, 0, 0, 5]] * 4 + [[0, 0, 0, 0, 5]]
    line = lost_classes("abcde", counts)
    assert "'a' (0 of 5), 'b' (0 of 5), 'c' (0 of 5) and 1 more was classified" in line
    assert "\n" not in line


def test_a_score_is_never_shown_without_saying_what_it_is():
    assert "not a normalised" in metrics_table({"val/score": 1.0}).caption
    assert metrics_table({"val/nll": 1.0}).caption is None


def test_it_prints_with_nan_and_when_empty():
    console = Console(width=80, record=True)
    console.print(metrics_table({"test/accuracy": float("nan")}), metrics_table({}))
    assert "nan" in console.export_text()
