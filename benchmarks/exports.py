"""What exports of the shipped experiments' networks cost, and how near their answers are.

`python benchmarks/exports.py` measures all, `... iris_gen mnist_disc` some; `--write` writes
`benchmarks/EXPORTS.md`. The networks are untrained, initialised as a training begins, and so are
the formulas those of trained ones. Each is measured in a process of its own, and so is ONNX
Runtime, on one thread.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

from trees import HERE, ROOT, commit_of

PAGE = HERE / "EXPORTS.md"
EXPERIMENTS = (
    *("mnist_disc", "iris_disc", "iris_gen", "iris_circuit", "diabetes_reg", "mnist_conv"),
    *("mnist_mlp", "mnist_vit", "iris_paper", "diabetes_mlp", "mnist_rows_rnn", "mnist_conv_cnn"),
    *("mnist_rows_gru", "mnist_vit_standard", "iris_lda", "iris_gmm", "iris_qda"),
    *("mnist_bernoulli", "mnist_gen", "mnist_gen_any"),
)
BATCH = 256
LIMIT = 5  # minutes for an experiment
HEADER = """# What exports cost

Written by `python benchmarks/exports.py --write` at {commit}, torch {torch}, onnxruntime
{runtime}, {machine}. The networks are untrained.

Differences are the largest between an export's answers and the network's, as `ugmm export`
measures them (1e-5 is allowed), on {rows} rows. Times are of the process's own CPU time on one
thread; those of the runtime, which is ONNX Runtime, and of ugmm are of answers to {batch} rows,
and the memory is what the runtime then takes more than with the model loaded.

| experiment | ONNX differs by | size | export | runtime | ugmm | memory | pt2 differs by | size |
| --- | --- | --- | --- | --- | --- | --- | --- | --- |
"""
ASK = """
import json, sys, time
import numpy as np, onnxruntime
options = onnxruntime.SessionOptions()
options.intra_op_num_threads = 1
session = onnxruntime.InferenceSession(sys.argv[1], options)
values = dict(np.load(sys.argv[2]))
def memory(name):
    lines = open("/proc/self/status").read().splitlines()
    (line,) = [line for line in lines if line.startswith(name)]
    return int(line.split()[1]) / 1024
session.run(None, {name: each[:1] for name, each in values.items()})
before = memory("VmRSS")
open("/proc/self/clear_refs", "w").write("5")  # the peak begins anew
session.run(None, values)
taken, seconds = memory("VmHWM") - before, []
for _ in range(5):
    start = time.process_time()
    session.run(None, values)
    seconds.append(time.process_time() - start)
print(json.dumps({"ms": 1000 * min(seconds), "memory": taken}))
"""


def measure(experiment: str) -> dict[str, Any]:
    """Export an experiment's network in both ways; return what was measured, or why it is not."""
    import numpy as np
    import torch

    from ugmm.config.compose import compose
    from ugmm.deploy import to_onnx, to_pt2
    from ugmm.deploy.exports.check import answers_of
    from ugmm.deploy.exports.columns import inputs_of, to_values
    from ugmm.errors import UserError
    from ugmm.trained import TrainedNetwork, TrainedRegressor
    from ugmm.training.build import build, prepare, some_rows

    torch.set_num_threads(1)
    config = compose(experiment, ["trainer.threads=1"])
    data, task = build(config)
    prepare(task, data, config)
    kept = torch.from_numpy(some_rows(data.splits["train"], 0))
    kind = TrainedRegressor if config.task.is_regression else TrainedNetwork
    trained = kind(task.network.eval(), data.spec, config, kept)
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        for name, write in (("onnx", to_onnx), ("pt2", to_pt2)):
            path, start = Path(folder) / f"model.{name}", time.process_time()
            try:
                difference = write(trained, path)
            except UserError as error:
                found[name] = {"error": str(error)}
                continue
            seconds, size = time.process_time() - start, path.stat().st_size / 1e6
            found[name] = {"difference": difference, "seconds": seconds, "size": size}
        if "error" in found["onnx"]:
            return found
        times = -(-BATCH // len(kept))
        rows = trained.spec.decode(kept.repeat(times, 1)[:BATCH])
        names = [each.name for each in inputs_of(trained.spec)]
        values = dict(zip(names, to_values(trained.spec, rows), strict=True))
        np.savez(Path(folder) / "rows.npz", **values)
        command = [sys.executable, "-c", ASK, f"{folder}/model.onnx", f"{folder}/rows.npz"]
        done = subprocess.run(command, capture_output=True, check=True)
        found["onnx"] |= json.loads(done.stdout)
    laps = []
    for _ in range(6):  # the first compiles
        start = time.process_time()
        answers_of(trained, rows)
        laps.append(time.process_time() - start)
    found["ugmm"] = 1000 * min(laps)
    return found


def line(experiment: str, found: dict[str, Any]) -> str:
    """Return a row of the table."""
    onnx, pt2 = found["onnx"], found["pt2"]
    if "error" in onnx:
        cells = ["none", *["-"] * 5]
    else:
        cells = [f"{onnx['difference']:.0e}", f"{onnx['size']:.1f} MB", f"{onnx['seconds']:.0f} s"]
        cells += [f"{onnx['ms']:.3g} ms", f"{found['ugmm']:.3g} ms", f"{onnx['memory']:.0f} MB"]
    if "error" in pt2:
        cells += ["none", "-"]
    else:
        cells += [f"{pt2['difference']:.0e}", f"{pt2['size']:.1f} MB"]
    return " | ".join([f"| {experiment}", *cells]) + " |\n"


def main() -> None:
    """Measure, print and perhaps write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("experiments", nargs="*", default=EXPERIMENTS)
    parser.add_argument("--write", action="store_true")
    parser.add_argument("--one", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        print(json.dumps(measure(options.experiments[0])))
        return
    lines: list[str] = []
    reasons: list[str] = []
    for experiment in options.experiments:
        found = measure_apart(experiment)
        if isinstance(found, str):
            reasons.append(f"- {experiment}: {found}\n")
        else:
            lines.append(line(experiment, found))
            print(lines[-1], end="", flush=True)
            errors = ((name, found[name].get("error")) for name in ("onnx", "pt2"))
            reasons += [f"- {experiment}, {name}: {said}\n" for name, said in errors if said]
        if options.write:  # at once, for all of them take long
            PAGE.write_text(page(lines, reasons), encoding="utf-8")
    print("".join(reasons), end="")


def measure_apart(experiment: str) -> dict[str, Any] | str:
    """Return what a process of its own measured, or why it did not."""
    command = [sys.executable, __file__, "--one", experiment]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, check=True, timeout=60 * LIMIT
        )
    except subprocess.TimeoutExpired:
        return f"stopped after {LIMIT} minutes"
    except subprocess.CalledProcessError as error:
        return error.stderr.strip().splitlines()[-1]
    return json.loads(done.stdout.splitlines()[-1])


def page(lines: list[str], reasons: list[str]) -> str:
    """Return the page of a table's rows, and of why some exports are none."""
    header = HEADER.format(
        commit=commit_of(ROOT),
        torch=version("torch"),
        runtime=version("onnxruntime"),
        machine=f"{platform.machine()}, {os.cpu_count()} CPUs",
        rows=100,
        batch=BATCH,
    )
    told = ["\nWhat was not exported:\n\n", *reasons] if reasons else []
    return "".join([header, *lines, *told])


if __name__ == "__main__":
    main()
