"""Faults made on purpose: a YAML file with some random damage, the same for the same seed."""

import random
from collections.abc import Iterator

ODD = (
    "", "null", "~", "true", "no", "on", "0", "-0", "1", "-1", "007", "0x1F", "1_000", "1:30",
    "1e3", "1e-300", "1e30", "1e400", "-1e12", "1e12", ".5", ".inf", "-.inf", ".nan", "nan",
    "9" * 25, "9" * 400, "-" + "9" * 5000, "2147483647", "2147483648", "65536", "0.999999999",
    "2019-01-01",
    "[]", "{}", "[1, 2]", "[[1]]", "[null]", "[a, 1, true]", "[1e400]", "{a: 1}", "{a: {b: []}}",
    "'1'", '"true"', "''", "'a'", '"a\\nb"', '"\\0"', '"\\ud800"', "'unended", '"',
    "|\n    a\n    b", ">\n    a", "!!int x", "!!float abc", "!!bool x", "!!python/name:os.system",
    "!mine {a: 1}",
    "&a 1", "*a", "&b [*b]", "${seed}", "${nope}", "${", "${oc.env:HOME}", "${data}", "${name}",
    "???", "a #1", "x: y", "a: b: c", "- a", "? a", "%a", "@a", "`a`", "#a", "\x07", "\ufeff", "ü",
    "\u2028", "a" * 3000, "auto", "none", "iris", "mlp", "csv", "val/nll", "/dev/zero", "..",
)  # fmt: skip
INSERTED = "\t\n :#-[]{}'\"&*!|>%@,?0a=\\\x00\x85\u2028\ufeff\U0001f600"


def mutate(text: str, seed: int) -> str:
    """Return a text with one to three faults."""
    rng = random.Random(seed)
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        text = rng.choice(FAULTS)(text, rng)
    return text


def mutations(texts: list[str], n: int, first: int = 0) -> Iterator[tuple[int, int, str]]:
    """Yield n seeds, each with the place of a text and the text with the faults of that seed."""
    for seed in range(first, first + n):
        place = seed % len(texts)
        yield seed, place, mutate(texts[place], seed)


def _with_line(text: str, rng: random.Random, change) -> str:
    lines = text.split("\n")
    place = rng.randrange(len(lines))
    lines[place : place + 1] = change(lines[place])
    return "\n".join(lines)


def _odd_value(text, rng):
    """Put something odd in the place of a value, or behind a key that had none."""
    kept = [i for i, line in enumerate(text.split("\n")) if ":" in line and line[:1] != "#"]
    lines = text.split("\n")
    if kept:
        place = rng.choice(kept)
        key, _, rest = lines[place].partition(":")
        value = rng.choice(ODD)
        if "{" in rest and rng.random() < 0.5:  # a value within a flow mapping
            head, _, tail = rest.rpartition(":")
            closing = tail[len(tail.rstrip("}] ")) :]
            lines[place] = f"{key}:{head}: {value}{closing}"
        else:
            lines[place] = f"{key}: {value}"
    return "\n".join(lines)


def _odd_key(text, rng):
    return _with_line(
        text, rng, lambda line: [rng.choice(ODD) + line[line.find(":") :] if ":" in line else line]
    )


def _typo(text, rng):
    def change(line):
        if not line.strip():
            return [line]
        place = rng.randrange(len(line))
        letters = list(line)
        letters[place : place + 1] = rng.choice(
            ([], [letters[place]] * 2, [rng.choice("aeiou_.")], letters[place : place + 2][::-1])
        )
        return ["".join(letters)]

    return _with_line(text, rng, change)


def _drop_line(text, rng):
    return _with_line(text, rng, lambda _: [])


def _repeat_line(text, rng):
    return _with_line(text, rng, lambda line: [line, line])


def _indent(text, rng):
    by = rng.choice(("  ", " ", "\t", "    ", None))
    return _with_line(text, rng, lambda line: [line.lstrip() if by is None else by + line])


def _cut(text, rng):
    return text[: rng.randrange(len(text) + 1)]


def _insert(text, rng):
    place = rng.randrange(len(text) + 1)
    return text[:place] + rng.choice(INSERTED) + text[place:]


def _drop(text, rng):
    start = rng.randrange(len(text) + 1)
    return text[:start] + text[start + rng.randint(1, 12) :]


def _move_line(text, rng):
    lines = text.split("\n")
    line = lines.pop(rng.randrange(len(lines)))
    lines.insert(rng.randrange(len(lines) + 1), line)
    return "\n".join(lines)


def _whole(text, rng):
    """Another file altogether, or the same twice, or as other systems write it."""
    return rng.choice(
        ("", "5\n", "- a\n", "null", "[]", "a", text * 2, f"- {text}", f"---\n{text}...\n",
         text.replace("\n", "\r\n"), "\ufeff" + text, f"%YAML 1.1\n---\n{text}", text[::-1])
    )  # fmt: skip


FAULTS = (
    *(_odd_value,) * 8, *(_typo,) * 3, _odd_key, _drop_line, _repeat_line, _indent, _cut, _insert,
    _drop, _move_line, _whole,
)  # fmt: skip
