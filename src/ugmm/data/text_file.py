"""A user's file as text: what is no text is named, and what is gzipped is unpacked."""

import codecs
import stat
import zlib
from collections.abc import Callable
from functools import partial
from pathlib import Path

from ugmm.errors import UserError

__all__ = [
    "GZIP",
    "MOST_UNPACKED",
    "START",
    "check_regular",
    "find_encoding",
    "marked_encoding",
    "read_text",
    "refuse_no_text",
]

MOST_UNPACKED = 1 << 30  # bytes; a small archive can hold more than the memory

_KINDS = {
    stat.S_ISDIR: "a folder",
    stat.S_ISFIFO: "a pipe",
    stat.S_ISSOCK: "a socket",
    stat.S_ISCHR: "a device",
    stat.S_ISBLK: "a device",
}

GZIP = b"\x1f\x8b"  # how such a file begins
START = 4096  # bytes by which a file is known
_NO_TEXT = {  # how files begin that are something else
    b"PAR1": "a Parquet file",
    b"ARROW1": "an Arrow file",
    b"FEA1": "a Feather file",
    b"\x89HDF\r\n\x1a\n": "an HDF5 file",
    b"\xd0\xcf\x11\xe0": "an old Excel workbook (xls)",
    b"SQLite format 3\0": "an SQLite database",
    b"\x93NUMPY": "a NumPy array",
    b"%PDF": "a PDF document",
    b"\x89PNG": "a picture",
    b"\xff\xd8\xff": "a picture",
    b"{\\rtf": "an RTF document",
}
_PACKED = {
    b"BZh": "packed by bzip2",
    b"\xfd7zXZ\0": "packed by xz",
    b"\x28\xb5\x2f\xfd": "packed by zstd",
    b"7z\xbc\xaf\x27\x1c": "packed by 7z",
    b"Rar!": "packed by rar",
}
_MARKS = {  # of the byte order, the longer ones first
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}


def check_regular(path: Path) -> None:
    """Refuse what is no file with an end: a folder, a pipe, a device, a socket.

    Raises:
        UserError: If it is one.
        OSError: If there is nothing, or it cannot be looked at.
    """
    mode = path.stat().st_mode
    kind = next((name for test, name in _KINDS.items() if test(mode)), None)
    if kind is not None:
        raise UserError(f"{path} is {kind}; give a file")


def read_text(path: Path, encoding: str = "auto") -> tuple[str, str]:
    """Read a file of text, which may be gzipped.

    Args:
        path: The file.
        encoding: How its characters are encoded, as Python calls it. "auto" takes what the byte
            order mark says, else UTF-16 where every other byte is 0, else UTF-8, else
            Windows-1252, else Latin-1.

    Returns:
        The text, without the mark, and the encoding.

    Raises:
        UserError: If it cannot be read, or is no text.
    """
    try:
        check_regular(path)
        content = path.read_bytes()
    except UserError as error:
        raise UserError(f"data.path={error}") from None
    except OSError as error:
        raise UserError(f"cannot read data.path={path}: {error.strerror}") from error
    if content.startswith(GZIP):
        content = _unpack(content, path)
    refuse_no_text(content, path)
    chosen = encoding
    if encoding == "auto":
        chosen = find_encoding(content[:START], partial(_decodes, content))
    try:
        text = content.decode(chosen)
    except LookupError:
        raise UserError(
            f"data.encoding={encoding} is no encoding; use auto, or such as utf-8, utf-16, cp1252"
        ) from None
    except UnicodeError as error:
        raise UserError(
            f"{path} is not {chosen} text ({getattr(error, 'reason', error)}); use "
            "data.encoding=auto, or name its encoding"
        ) from None
    if "\0" in text:
        raise UserError(
            f"{path} holds bytes that no text has; give a CSV file, or name its data.encoding"
        )
    return text.removeprefix("\ufeff"), chosen


def _unpack(content: bytes, path: Path) -> bytes:
    """Return what was gzipped, which may be of several members."""
    parts, size = [], 0
    while content:
        unpacker = zlib.decompressobj(wbits=31)
        try:
            part = unpacker.decompress(content, MOST_UNPACKED - size + 1)
        except zlib.error as error:
            raise UserError(f"{path} is a damaged gzip file ({error}); make it again") from None
        parts.append(part)
        size += len(part)
        if size > MOST_UNPACKED:
            raise UserError(
                f"{path} unpacks to more than {MOST_UNPACKED:,} bytes; unpack it yourself if it "
                "is meant to be so large"
            )
        if not unpacker.eof:
            raise UserError(f"{path} is a gzip file that was cut short; make it again")
        content = unpacker.unused_data.lstrip(b"\0")  # some tools pad with zeros
    return b"".join(parts)


def refuse_no_text(content: bytes, path: str | Path) -> None:
    """Refuse files that are known by how they begin.

    Raises:
        UserError: If it is one.
    """
    for magic, what in _NO_TEXT.items():
        if content.startswith(magic):
            raise UserError(f"{path} is {what}, and no text; save the table as CSV")
    for magic, how in _PACKED.items():
        if content.startswith(magic):
            raise UserError(f"{path} is {how}; unpack it, or pack it by gzip")
    if content.startswith(GZIP):
        raise UserError(f"{path} is gzipped twice; unpack it once")
    if content.startswith(b"PK\3\4"):
        what = "an Excel workbook" if b"xl/" in content else "a zip archive"
        raise UserError(f"{path} is {what}, and no text; save the table as CSV")
    if content[257:262] == b"ustar":
        raise UserError(f"{path} is a tar archive; unpack the table")


def _decodes(content: bytes, encoding: str) -> bool:
    try:
        content.decode(encoding)
    except UnicodeDecodeError:
        return False
    return True


def find_encoding(start: bytes, decodes: Callable[[str], bool]) -> str:
    """Return how a file's characters are encoded; see `read_text`.

    Args:
        start: Its first `START` bytes.
        decodes: Whether all of it is text in an encoding.
    """
    if (marked := marked_encoding(start)) is not None:
        return marked
    if len(start) > 3:  # of letters in UTF-16, every other byte is 0
        for name, zeros, others in (
            ("utf-16-le", start[1::2], start[::2]),
            ("utf-16-be", start[::2], start[1::2]),
        ):
            if zeros.count(0) > 0.5 * len(zeros) and 0 not in others:
                return name
    return next((name for name in ("utf-8", "cp1252") if decodes(name)), "latin-1")


def marked_encoding(start: bytes) -> str | None:
    """Return the encoding that a byte order mark at the start of a file says, if there is one."""
    return next((name for mark, name in _MARKS.items() if start.startswith(mark)), None)
