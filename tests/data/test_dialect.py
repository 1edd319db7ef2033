"""What separates columns, and decimals: found out, or given."""

from io import StringIO

import pytest

from ugmm.data import read_csv
from ugmm.data.dialect import find_dialect
from ugmm.errors import UserError


@pytest.mark.parametrize(
    ("text", "separator", "decimal"),
    [
        ("a,b\n1.5,2\n", "comma", "point"),
        ("a;b\n1,5;2\n2,5;3\n", "semicolon", "comma"),
        ("a;b\n1.5;2\n", "semicolon", "point"),
        ("a\tb\n1,5\tx; y\n2\tz\n", "tab", "comma"),
        ("a|b\n1|2\n", "pipe", "point"),
        ("length, cm;width, cm\n1,5;2,5\n3,5;4,5\n", "semicolon", "comma"),  # as even by commas
        ('name,x\n"Doe; J",1.5\n"Poe; E",2\n', "comma", "point"),
        ('a,b\n"1,5",2\n"2,5",3\n', "comma", "comma"),
        ('a,b\n"1,234",2\n"12,345",3\n', "comma", "point"),  # thousands
        ('a;b\n"x\ny";1\n"z;";2\n', "semicolon", "point"),  # a line break in quotes
        ("a;b\n1,5;2.5\n", "semicolon", "point"),  # of two minds: whoever reads it says so
        ("a\n1\n2\n", "comma", "point"),
        ("a;b\r\n1;2\r\n", "semicolon", "point"),
        ("", "comma", "point"),
    ],
)
def test_it_is_found_out(text, separator, decimal):
    found = find_dialect(lambda: StringIO(text, newline=""))
    assert (found.separator, found.decimal) == (separator, decimal)


@pytest.mark.parametrize("separator", ["semicolon", ";"])
@pytest.mark.parametrize("decimal", ["comma", ","])
def test_it_may_be_given(separator, decimal):
    found = find_dialect(lambda: ["a,b\n", "1,2\n"], separator, decimal)
    assert (found.separator, found.decimal) == ("semicolon", "comma")
    assert find_dialect(lambda: ["a,b\n", "1,2\n"], "\\t").mark == "\t"
    assert find_dialect(list, "\t").mark == "\t"


def test_numbers_have_decimal_commas(tmp_path):
    path = tmp_path / "table.csv"
    path.write_text("größe;art\n1,5;a\n-2,25e1;b\n;a\n", encoding="cp1252")
    table = read_csv(path, "art", missing="mean")
    assert table.x[:2, 0].tolist() == [1.5, -22.5]
    assert table.description.startswith(f"{path} (cp1252, semicolon, decimal comma): 3 rows")
    path.write_text("x;y\n1.234,5;a\n2,5;b\n3,5;b\n")
    with pytest.raises(UserError, match=r"'x': '1\.234,5' in line 2 is not a number"):
        read_csv(path, "y")


@pytest.mark.parametrize("first", ["sep=;", "sep=;\r", '"sep=;"', "\ufeffsep=;"])
def test_a_line_in_which_a_spreadsheet_names_the_separator_is_no_row(tmp_path, first):
    path = tmp_path / "table.csv"
    path.write_text(f"{first}\na,b;y\n1;u\n2;v\n", encoding="utf-8", newline="")
    table = read_csv(path, "y")
    assert [column.name for column in table.columns] == ["a,b"]
    path.write_text(f"{first}\na;y\n1;u\n2\n", encoding="utf-8", newline="")
    with pytest.raises(UserError, match="line 4 has 1 values"):
        read_csv(path, "y")


def test_what_is_perhaps_not_meant_is_pointed_out(tmp_path):
    path = tmp_path / "table.csv"
    rows = [f"{i},{i % 7},{i % 3 + 0.5},{'uv'[i % 2]}" for i in (*range(8, 20), *range(3, 8))]
    path.write_text("\n".join(["id,x,score,y", *rows]))
    (note,) = notes(read_csv(path, "y"))
    assert "column 'id' only numbers the rows, 3 to 19; leave it out by 'data.types={id: d" in note
    (note,) = notes(read_csv(path, "score", types={"id": "drop"}))
    assert "the label 'score' has decimals" in note
    assert "a quantity is predicted by data.target=score" in note
    path.write_text("x,y\n1,inf\n3,ok\n9,inf\n")
    assert notes(read_csv(path, "y")) == []


def notes(table):
    return [line for line in table.description.splitlines() if line.startswith("  note: ")]
