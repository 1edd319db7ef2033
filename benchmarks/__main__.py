"""All benchmarks: `python benchmarks [--quick] [--against COMMIT]`, or `make bench ARGS=...`.

Writes `benchmarks/RESULTS.md`, in which every machine has a section of its own, and
`docs/images/speed.png`. With the names of parts, these alone are measured, and nothing is written.
A graphics card is measured too where there is one; `--device` chooses, `--save` keeps what was
measured in a file, and `--add` writes it into the results elsewhere.
"""

import argparse
import contextlib
import functools
import importlib
import json
import os
import platform
import re
import signal
import sys
import time
import traceback
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from cases import BEFORE, NOW, Measured, run_part
from common import BenchError, markdown
from holds import holds_table
from trees import HERE, ROOT, commit_of, worktree

PARTS = {
    "cpu": ("layers", "steps", "commands", "cumulative", "scaling"),
    "cuda": ("layers", "steps", "cumulative", "scaling"),
}
PACKAGES = ("torch", "numba", "triton", "numpy", "lightning", "spflow", "libcirkit")
RESULTS, PICTURE = HERE / "RESULTS.md", ROOT / "docs" / "images" / "speed.png"
HEADER = """# Results of `make bench`

One section a machine. Contenders alternate within one run, those of another commit (`@`) in a
process of its own, each with a step to warm the caches before every timed one (steps longer than
a second excepted). Figures are medians, ranges their quartiles, reps the timed steps; times: as
many times as long as the first contender of the case. On a CPU everything runs on one thread, and
what counts is the process's own CPU time, on which other work on the machine has little influence;
the clock on the wall stands beside it.
"""


def machine(device: str) -> str:
    """The processor or graphics card, and how much of it there is."""
    import torch

    if device == "cuda":
        card = torch.cuda.get_device_properties(0)
        return f"{card.name}, {card.multi_processor_count} SMs"
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    names = [line.split(":")[1].strip() for line in lines if line.startswith("model name")]
    name = (names or [platform.processor()])[0]
    return f"{name}, {os.cpu_count()} CPUs, {torch.get_num_threads()} threads"


def versions() -> str:
    """Of Python and of those packages that are installed."""
    found = [f"Python {platform.python_version()}"]
    for package in PACKAGES:
        with contextlib.suppress(PackageNotFoundError):
            found.append(f"{package} {version(package)}")
    return ", ".join(found)


def measure(
    device: str, parts: tuple[str, ...], trees: dict[str, Path], quick: bool
) -> tuple[dict[str, Any], list[str]]:
    """Measure parts on a device; returns what a file keeps of them, and which parts failed."""
    of = f"Measured: {commit_of(trees[NOW])}"
    if BEFORE in trees:
        of += f"; before: {commit_of(trees[BEFORE])}"
    about = {"machine": machine(device), "versions": versions(), "commits": of, "quick": quick}
    print(f"{about['machine']}; {about['versions']}\n{of}", flush=True)
    measured, failed = Measured([], []), []
    for name in parts:
        began = time.perf_counter()
        try:
            part = importlib.import_module(name)
            found = getattr(part, "measure", functools.partial(run_part, part))(
                trees, quick, device
            )
        except Exception:  # whatever it is, the other parts go on
            traceback.print_exc()
            print(f"{name} failed", file=sys.stderr)
            failed.append(name)
            continue
        measured = Measured(measured.tables + found.tables, measured.records + found.records)
        print(f"({name}: {time.perf_counter() - began:.0f} s)", flush=True)
    tables = [table.plain() for table in measured.tables if table.rows]
    if holds := holds_table(measured.records, device):
        tables.insert(0, holds.plain())
    return {**about, "device": device, "tables": tables, "records": measured.records}, failed


def section(found: dict[str, Any]) -> str:
    """A machine's part of the results, in Markdown."""
    lines = [f"## {found['machine']}", "", f"{found['versions']}. {found['commits']}."]
    if found["quick"]:
        lines[-1] += " A quick run: few repetitions."
    for table in found["tables"]:
        lines += ["", *markdown(table)]
    return "\n".join(lines) + "\n"


def replaced(text: str, new: str) -> str:
    """The results, with the section of `new`'s machine replaced or added."""
    sections = re.split(r"^(?=## )", text, flags=re.MULTILINE)[1:]
    title = new.partition("\n")[0]
    others = [old.strip() + "\n" for old in sections if old.partition("\n")[0] != title]
    return "\n".join([HEADER, new, *others])


def write(found: list[dict[str, Any]]) -> None:
    """Write machines' sections, and the picture of the processor among them."""
    for one in found:
        old = RESULTS.read_text() if RESULTS.is_file() else ""
        RESULTS.write_text(replaced(old, section(one)))
        print(f"written: {RESULTS}")
        if one["device"] == "cpu":
            import figure

            figure.draw(one["machine"], one["records"], PICTURE)
            print(f"written: {PICTURE}")


def kept(path: Path) -> list[dict[str, Any]]:
    """What `--save` wrote."""
    try:
        return json.loads(path.read_text())
    except ValueError as error:
        raise BenchError(f"{path} was not written by --save: {error}") from error


def options_of(arguments: list[str] | None) -> argparse.Namespace:
    """What the command line says."""
    names = sorted({part for parts in PARTS.values() for part in parts})
    parser = argparse.ArgumentParser(prog="benchmarks", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"of {', '.join(names)}; or all")
    parser.add_argument("--quick", action="store_true", help="fewer repetitions and sizes")
    parser.add_argument("--against", metavar="COMMIT", help="measure this commit's sources too")
    parser.add_argument("--device", choices=("cpu", "cuda"), help="this one alone")
    parser.add_argument("--save", type=Path, metavar="FILE", help="keep what was measured")
    parser.add_argument("--add", type=Path, nargs="+", metavar="FILE", help="write what was kept")
    options = parser.parse_args(arguments)
    if strange := set(options.parts) - set(names):
        parser.error(f"there is no part {min(strange)!r}; there are {', '.join(names)}")
    return options


def run(options: argparse.Namespace) -> int:
    """Measure and write; returns the exit code."""
    if options.add:
        write([one for path in options.add for one in kept(path)])
        return 0
    if options.save:
        options.save.touch()  # complains before there is anything to lose
    with contextlib.ExitStack() as stack:
        trees = {NOW: ROOT}
        if options.against is not None:
            trees[BEFORE] = stack.enter_context(worktree(options.against))
        import torch

        devices = ["cpu"] + ["cuda"] * torch.cuda.is_available()
        found, failed = [], []
        for device in [options.device] if options.device else devices:
            parts = [p for p in PARTS[device] if p in options.parts or not options.parts]
            one, missing = measure(device, tuple(parts), trees, options.quick)
            found.append(one)
            failed += missing
    if options.save:
        options.save.write_text(json.dumps(found, indent=1))
    if not options.parts and not options.save:
        write(found)
    return 1 if failed else 0


def main(arguments: list[str] | None = None) -> int:
    """Run; what the user can mend is told in one line."""
    options = options_of(arguments)
    try:
        return run(options)
    except (BenchError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT / "src"))  # what this process takes of ugmm is of this tree too
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # by which worktrees are removed
    sys.exit(main())
