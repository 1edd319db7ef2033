"""The picture and the table of shifted images."""

import numpy as np

from ugmm.report import robustness_table
from ugmm.report.run.robustness import robustness_curves, robustness_tested

RESULTS = {
    "test/accuracy": 0.98,
    "test/ece": 0.01,
    "rotated_30/accuracy": 0.7,
    "rotated_30/ece": 0.1,
    "rotated_60/accuracy": 0.3,
    "rotated_60/ece": 0.4,
    "filled_50/accuracy": 0.5,
    "filled_50/ece": 0.2,
    "fashion/auroc_score": 0.9,
    "seconds": 3.0,
}


def test_lines_start_where_nothing_is_shifted():
    figure = robustness_curves(RESULTS)
    upper_left = figure.axes[0]
    (line,) = upper_left.lines
    np.testing.assert_allclose(line.get_xydata(), [[0, 98], [30, 70], [60, 30]])
    assert upper_left.get_ylabel() == "accuracy (%)"
    assert figure.axes[2].get_xlabel() == "rotation (degrees)"
    assert [text.get_text() for text in figure.axes[1].get_legend().texts] == [
        "replaced by their mean"
    ]


def test_only_what_was_tested_is_drawn():
    assert robustness_tested(RESULTS)
    assert not robustness_tested({"test/accuracy": 1.0})
    assert robustness_table({"test/accuracy": 1.0, "seconds": 2.0}) is None


def test_one_row_a_shift():
    table = robustness_table(RESULTS)
    cells = list(zip(*(map(str, column.cells) for column in table.columns), strict=True))
    assert [row[0] for row in cells] == ["rotated 30", "rotated 60", "filled 50", "fashion"]
    assert cells[0][1] == "70.00%"
    assert cells[-1][-1] == "0.9000"
