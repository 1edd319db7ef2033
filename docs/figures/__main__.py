"""Make the pictures of docs/images anew: `make figures`, or `python docs/figures NAME ...`.

Without names those are made that take at most a minute or two. `--list` prints which command
makes each, as docs/pictures.md has it.
"""

import argparse
import shlex
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from pictures import PICTURES, Picture

ROOT = Path(__file__).resolve().parents[2]
IMAGES = ROOT / "docs" / "images"


def main() -> None:
    """Make what is named, or all that is quick."""
    parser = argparse.ArgumentParser(prog="make figures", description=__doc__.partition("\n")[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help="such as training.png")
    parser.add_argument("--list", action="store_true", help="only print which command makes which")
    options = parser.parse_args()
    if options.list:
        print(markdown())
        return
    known = {picture.name: picture for picture in PICTURES}
    if unknown := sorted(set(options.names) - set(known)):
        parser.error(f"there is no {unknown[0]}; known are {', '.join(known)}")
    named = [known[name] for name in options.names]
    for picture in named or [picture for picture in PICTURES if picture.is_quick]:
        make(picture)


def make(picture: Picture) -> None:
    """Run a picture's commands in a folder of their own, and keep what they drew."""
    with tempfile.TemporaryDirectory() as folder:
        places = {"RUNS": f"{folder}/runs", "OUT": str(IMAGES / picture.name)}
        for command in picture.commands:
            print(f"{picture.name}: {command}", flush=True)
            for name, place in places.items():
                command = command.replace(name, shlex.quote(place))
            program, *arguments = shlex.split(command)
            start = [sys.executable, *(["-m", "ugmm"] if program == "ugmm" else [])]
            subprocess.run([*start, *arguments], cwd=ROOT, check=True)
        if picture.plot:
            (plot,) = Path(folder).glob(f"runs/**/plots/{picture.plot}")
            shutil.copyfile(plot, IMAGES / picture.name)


def markdown() -> str:
    """Return the table of docs/pictures.md."""
    lines = ["| picture | made by | in `make figures` |", "|---|---|---|"]
    for picture in PICTURES:
        commands = "; ".join(f"`{command}`" for command in picture.commands)
        plot = f", of which `plots/{picture.plot}`" if picture.plot else ""
        quick = "yes" if picture.is_quick else "if named"
        lines.append(f"| [`{picture.name}`](images/{picture.name}) | {commands}{plot} | {quick} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
