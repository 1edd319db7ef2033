"""A file of text that may be larger than memory: read from its start as often as is needed."""

import codecs
import gzip
import io
import re
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, cast

from ugmm.data.dialect import named_separator
from ugmm.data.text_file import GZIP, START, find_encoding, marked_encoding, refuse_no_text
from ugmm.errors import UserError
from ugmm.reading import reading

__all__ = ["TextFile"]

_CHUNK = 1 << 20  # bytes
_BEGINNING = 1 << 16  # bytes by which what is no text is known


class TextFile:
    """A file of text, gzipped or not, whose encoding is found as `ugmm.data.read_csv` finds it.

    Arguments:
        path: The file.
        name: What it is called in errors.
        encoding: Of its characters; "auto", or a byte order mark in it, finds it out.

    Attributes:
        encoding: Of its characters.
        has_quotes: Whether there is a quotation mark in it.
        lines: How many it has, about.
        separator: The character that its first line names, as in "sep=;", or None.

    Raises:
        UserError: If it cannot be read, or is no text.
    """

    def __init__(self, path: Path, name: str, encoding: str = "auto") -> None:
        self.path, self.name = path, name
        self.has_quotes, self.lines = False, 0
        _check_encoding(encoding)
        with self.open_bytes() as file:
            start = file.read(_BEGINNING)
        refuse_no_text(start, name)
        scanned: list[str] = []

        def scan(encoding: str) -> bool:
            scanned.append(encoding)
            return self._scan(encoding)

        stated = None if encoding == "auto" else marked_encoding(start) or encoding
        self.encoding = stated or find_encoding(start[:START], scan)
        if self.encoding not in scanned and not scan(self.encoding):
            raise UserError(
                f"{name} is not {self.encoding} text; name its encoding by --encoding, or save it "
                "as UTF-8"
            )
        self.separator: str | None = None
        with self.open() as lines:
            self.separator, _ = named_separator(next(lines, ""))

    @contextmanager
    def open_bytes(self) -> Iterator[IO[bytes]]:
        """Open what it holds, unpacked.

        Raises:
            UserError: If it cannot be read.
        """
        try:
            with reading(self.path), self.path.open("rb") as packed:
                is_packed = packed.read(len(GZIP)) == GZIP
                packed.seek(0)
                if not is_packed:
                    yield packed
                    return
                with gzip.GzipFile(fileobj=packed) as unpacked:
                    yield cast("IO[bytes]", unpacked)
        except (gzip.BadGzipFile, zlib.error) as error:
            raise UserError(
                f"{self.name} is a damaged gzip file ({error}); make it again"
            ) from None
        except EOFError:
            raise UserError(
                f"{self.name} is a gzip file that was cut short; make it again"
            ) from None

    @contextmanager
    def open(self) -> Iterator[IO[str]]:
        """Open its text, behind a line that names the separator; lines end as they do in it.

        Raises:
            UserError: If it cannot be read.
        """
        with self.open_bytes() as file:
            text = io.TextIOWrapper(file, self.encoding, newline="")
            if self.separator is not None:
                next(text)
            yield text

    def has_stray_quotes(self, mark: str) -> bool:
        """Return whether a quotation mark is one of anything but a pair around a whole value.

        Readers differ in what they make of those, and not in what they make of others.

        Args:
            mark: What stands between values.
        """
        if not self.has_quotes:
            return False
        ends = rf"[{re.escape(mark)}\r\n]"
        plain = re.compile(rf'(?:[^"]*+(?<={ends})"[^"]*+"(?={ends}))*+')
        text = "\n"  # what follows the last pair that was found
        with self.open() as file:
            while chunk := file.read(_CHUNK):
                text = plain.sub("", text + chunk, count=1)
                pairs = text.split('"', 2)
                if len(text) > 2 * _CHUNK or (len(pairs) == 3 and pairs[2]):
                    return True
                if len(pairs) == 1:
                    text = text[-1:]
        return '"' in plain.sub("", text + "\n", count=1)

    def _scan(self, encoding: str) -> bool:
        """Return whether all of it is text in an encoding, and look what is in it."""
        decoder = codecs.getincrementaldecoder(encoding)()
        self.has_quotes, ends = False, {"\n": 0, "\r": 0}
        with self.open_bytes() as file:
            try:
                while chunk := file.read(_CHUNK):
                    text = decoder.decode(chunk)
                    if "\0" in text:
                        raise UserError(
                            f"{self.name} holds bytes that no text has; give a CSV or Parquet file"
                        )
                    self.has_quotes = self.has_quotes or '"' in text
                    for end in ends:
                        ends[end] += text.count(end)
                decoder.decode(b"", final=True)
            except UnicodeError:
                return False
        self.lines = 1 + max(ends.values())
        return True


def _check_encoding(encoding: str) -> None:
    if encoding != "auto":
        try:
            io.TextIOWrapper(io.BytesIO(), encoding)
        except LookupError:
            raise UserError(
                f"--encoding {encoding} is no encoding; use auto, or such as utf-8, utf-16, cp1252"
            ) from None
