"""What must hold: how fast ours has to be beside another commit and beside a peer."""

from typing import Any, NamedTuple

import layers
import steps
from cases import BEFORE, NOW
from common import Table, milliseconds
from networks import MLP_MANY, MLP_SAME


class Hold(NamedTuple):
    """A row of the table.

    Attributes:
        part: Where it was measured, as are the next two.
        case: What was done.
        contender: By what.
        before: The contender of the other commit, if it goes by another name there.
        faster: How many times as fast as that it must be at least; None: whatever it is.
        peer: A contender of the same case, or seconds.
        most: How many times as long as that it may take.
        at: Where the peer was measured, if that is another case: part, case and contender.
    """

    part: str
    case: str
    contender: str
    before: str = ""
    faster: float | None = None
    peer: str | float = ""
    most: float | None = None
    at: tuple[str, str, str] | None = None


_FIRST, _FEW, _PATCHES, _TINY, _LARGE = map(
    layers.name_of, (layers.FIRST, layers.FEW, layers.PATCHES, layers.TINY, layers.LARGE)
)
_OURS = "ugmm"
HOLDS = {
    "cpu": (
        Hold("steps", steps.TRAINING, _OURS, faster=1.4, peer=MLP_MANY, most=3.3),
        Hold(
            "commands",
            "iris_disc, a step",
            "iris_disc",
            faster=2.2,
            peer="a bare loop",
            at=("steps", steps.IRIS, _OURS),
        ),
        Hold("commands", "iris_disc, whole", "iris_disc", faster=1.8),
        Hold("steps", "predict 1", steps.PREPARED, _OURS, peer=MLP_SAME, most=4),
        Hold("steps", "predict 1", _OURS, peer=MLP_SAME),
        Hold("steps", "predict 10000", _OURS, faster=1, peer=MLP_SAME),
        Hold("steps", "draw 1", _OURS, faster=2.5),
        Hold("steps", "draw 128", _OURS, faster=2.5),
        Hold("layers", _FEW, _OURS, faster=4, peer=layers.LIMIT, most=2),
        Hold("layers", _PATCHES, _OURS, faster=3, peer=layers.LIMIT),
        Hold("layers", _TINY, _OURS, peer=layers.LINEAR, most=2.5),
        Hold("layers", _FIRST, _OURS + layers.DROPPED, peer=_OURS + layers.ZEROS, most=1),
        Hold("commands", "ugmm --help", "ugmm --help", peer=0.2, most=1),
        Hold("commands", "ugmm list", "ugmm list", peer=0.2, most=1),
    ),
    "cuda": (
        Hold("layers", _LARGE, _OURS, peer=layers.LIMIT, most=2),
        Hold("layers", layers.name_of((128, 128, 784)), _OURS, peer=layers.COMPILED, most=1),
    ),
}


def holds_table(records: list[dict[str, Any]], device: str) -> Table | None:
    """The table of what was measured of it; None if nothing was."""
    seconds = {
        (r["part"], r["case"], r["contender"], r["tree"]): r["seconds"]
        for r in records
        if "seconds" in r
    }
    rows = [
        (hold, seconds[hold.part, hold.case, hold.contender, NOW])
        for hold in HOLDS[device]
        if (hold.part, hold.case, hold.contender, NOW) in seconds
    ]
    if not rows:
        return None
    columns = (
        "what:28 contender:24 before:9 now:9 faster:8 wanted:7 peer:24 its:9 times:7 wanted:7"
    )
    table = Table(
        "What must hold",
        [*columns.split(), "holds:5"],
        "In ms. faster: than before, and at least how many times; times: as many times as long as "
        "the peer,\nand at most how many.",
    )
    for hold, took in rows:
        before = seconds.get((hold.part, hold.case, hold.before or hold.contender, BEFORE))
        by_name = isinstance(hold.peer, str)
        at = hold.at or (hold.part, hold.case, hold.peer)
        peer = seconds.get((*at, NOW)) if by_name else hold.peer
        ratios = (before / took if before else None, took / peer if peer else None)
        table.add(
            f"{hold.part}: {hold.case}",
            hold.contender,
            milliseconds(before) if before else "",
            milliseconds(took),
            *_beside(ratios[0], hold.faster, "at least"),
            hold.peer if by_name else "",
            milliseconds(peer) if peer else "",
            *_beside(ratios[1], hold.most, "at most"),
            _verdict(hold, *ratios),
        )
    return table


def _beside(ratio: float | None, wanted: float | None, how: str) -> tuple[str, str]:
    """The cells of a ratio, and of what it must be."""
    return f"{ratio:.2f}x" if ratio else "", f"{how} {wanted:g}" if wanted else ""


def _verdict(hold: Hold, faster: float | None, times: float | None) -> str:
    """Whether it holds, as far as it was measured."""
    checks = []
    if hold.faster is not None and faster is not None:
        checks.append(faster >= hold.faster)
    if hold.most is not None and times is not None:
        checks.append(times <= hold.most)
    return ("yes" if all(checks) else "no") if checks else ""
