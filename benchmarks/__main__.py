"""All benchmarks: `python benchmarks [--quick]`, or `make bench`.

Writes `benchmarks/RESULTS.md`, in which every machine has a section of its own, and
`docs/images/speed.png`. `--add` writes the section of another machine from the files that parts
saved there: `python benchmarks --add cuda.json`.
"""

import json
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import figure
from common import announce, parser

PARTS = ("limit", "kernels", "cumulative", "steps", "scaling", "epochs", "overhead")
HERE = Path(__file__).parent
RESULTS, PICTURE = HERE / "RESULTS.md", HERE.parent / "docs" / "images" / "speed.png"
HEADER = """# Results of `make bench`

One section a machine. Contenders alternate within one run, each with a step to warm the caches
before every timed one (steps longer than a second excepted); figures are medians, ranges their
quartiles, reps the timed steps, and ratios are of medians of the same run.
"""


def run_parts(folder: Path, quick: bool) -> list[Path]:
    """Run every part in a process of its own; returns the files of those that ended well."""
    saved = []
    for part in PARTS:
        command = [
            sys.executable,
            str(HERE / f"{part}.py"),
            "--save",
            str(folder / f"{part}.json"),
        ]
        began = time.perf_counter()
        code = subprocess.run(
            command + ["--quick"] * quick, env={**os.environ, "UGMM_BENCH_ALL": "1"}, check=False
        ).returncode
        print(f"({part}: {time.perf_counter() - began:.0f} s)", flush=True)
        if code:
            print(f"{part} failed, with exit code {code}", file=sys.stderr)
        else:
            saved.append(folder / f"{part}.json")
    return saved


def section(parts: list[dict[str, Any]], quick: bool) -> str:
    """A machine's part of the results, in Markdown."""
    lines = [f"## {parts[0]['machine']}", "", parts[0]["versions"]]
    if quick:
        lines[-1] += ". A quick run: few repetitions"
    for part in parts:
        for table in part["tables"]:
            lines += ["", f"### {table['title']}", ""]
            if table["note"]:
                lines += [table["note"].replace("\n", " "), ""]
            lines += _rows(table)
    return "\n".join(lines) + "\n"


def _rows(table: dict[str, Any]) -> list[str]:
    numbers = [
        f"{'---:' if any(r[i][:1].isdigit() for r in table['rows']) else '---'}"
        for i in range(len(table["columns"]))
    ]
    rows = [table["columns"], numbers, *table["rows"]]
    return ["| " + " | ".join(row) + " |" for row in rows]


def replaced(text: str, new: str) -> str:
    """The results, with the section of `new`'s machine replaced or added."""
    sections = re.split(r"^(?=## )", text, flags=re.MULTILINE)[1:]
    title = new.partition("\n")[0]
    others = [old.strip() + "\n" for old in sections if old.partition("\n")[0] != title]
    return "\n".join([HEADER, new, *others])


def main() -> int:
    """Run, write, draw."""
    options = parser(__doc__)
    options.add_argument("--add", type=Path, nargs="+", help="files saved by parts, elsewhere")
    options = options.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        if not options.add:
            announce()
        paths = options.add or run_parts(Path(folder), options.quick)
        parts = [json.loads(path.read_text()) for path in paths]
    if not parts:
        return 1
    old = RESULTS.read_text() if RESULTS.is_file() else ""
    RESULTS.write_text(replaced(old, section(parts, options.quick)))
    print(f"written: {RESULTS}")
    by_name = {part["part"]: part for part in parts}
    if not options.add and {"kernels", "steps", "scaling"} <= set(by_name):
        figure.draw(by_name, PICTURE)
        print(f"written: {PICTURE}")
    return 0 if options.add or len(parts) == len(PARTS) else 1


if __name__ == "__main__":
    sys.exit(main())
