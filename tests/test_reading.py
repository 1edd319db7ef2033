"""Small files are read back whole, or one line says which is amiss and what to do."""

import pytest

from ugmm.errors import UserError
from ugmm.reading import read_json, read_text


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b"", "is damaged (Expecting value"),
        (b"{", "is damaged (Expecting property name"),
        (b"5", "is damaged (it does not hold keys and values)"),
        (b"null", "is damaged (it does not hold keys and values)"),
        (b'{"run_id": 5}', "is damaged (run_id is 5)"),
        (b"\xff", "is damaged ('utf-8' codec"),
        (b"[" * 99999, "is damaged (maximum recursion depth"),
    ],
)
def test_damage_is_one_line_with_the_remedy(tmp_path, content, complaint):
    path = tmp_path / "environment.json"
    path.write_bytes(content)
    with pytest.raises(UserError) as caught:
        read_json(path, "remove it", {"run_id": str})
    line = str(caught.value)
    assert line.startswith(f"{path} {complaint}")
    assert line.endswith("; remove it")
    assert "\n" not in line


def test_what_cannot_be_read_says_why(tmp_path):
    with pytest.raises(UserError, match=r"cannot read .*: Is a directory; mend that"):
        read_text(tmp_path, "remove it")
    with pytest.raises(UserError, match=r"cannot read .*: No such file"):
        read_text(tmp_path / "none", "remove it")


def test_what_is_whole_is_read(tmp_path):
    path = tmp_path / "environment.json"
    path.write_text('{"run_id": "12"}')
    assert read_json(path, "remove it", {"run_id": str, "git": dict}) == {"run_id": "12"}
