"""Several processes of one gloo group, forked from the test's own, which is quick."""

import multiprocessing
import sys
import traceback
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from torch import distributed

_FORKS = multiprocessing.get_context("fork")
_PATIENCE = 60  # seconds for a rank to end when another has, or to answer another


def on_ranks(world, function, *arguments):
    """Return what a function returns on each rank; one alone has no group."""
    with TemporaryDirectory() as name:
        folder = Path(name)
        processes = [
            _FORKS.Process(target=_run, args=(folder, rank, world, function, arguments))
            for rank in range(world)
        ]
        for process in processes:
            process.start()
        try:
            for process in processes:
                process.join(_PATIENCE)
                assert process.exitcode == 0, f"a rank ended with {process.exitcode}"
        finally:
            for process in processes:
                process.kill()
                process.join()
        return [torch.load(folder / f"{rank}.pt", weights_only=False) for rank in range(world)]


def _run(folder, rank, world, function, arguments):
    try:
        if world > 1:
            distributed.init_process_group(
                "gloo",
                init_method=f"file://{folder}/group",
                rank=rank,
                world_size=world,
                timeout=timedelta(seconds=_PATIENCE),
            )
        torch.save(function(*arguments), folder / f"{rank}.pt")
    except BaseException:  # what a child of a fork raises must not go up into pytest
        traceback.print_exc()
        sys.exit(1)
