"""Compiles Triton kernels for GPUs that need not be here: `python ahead_of_time.py mixture`.

Triton in a process of tests may be the interpreter, which cannot compile; hence one of its own.
"""

import re
import subprocess
import sys
import tempfile

import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from ugmm.kernels.coordinates import cuda as coordinates_cuda
from ugmm.kernels.coordinates import triton_kernels as coordinates_kernels
from ugmm.kernels.cumulative import cuda as cumulative_cuda
from ugmm.kernels.cumulative import triton_kernels as cumulative_kernels
from ugmm.kernels.mixture.triton import finish, near, parameters

MULTIPLES = ("padded", "outs_each")  # of 16, which Triton sees
KINDS = {
    "place": "*i64",
    "coordinates": "*i64",
    "known": "*i1",
    "table": "*fp64",
    "saved": "*fp64",
    "min_scale": "fp64",
}


def compiled(function, constants, capability, warps):
    """The PTX and the cubin."""
    signature = {}
    for name in function.arg_names:
        size = name in function.do_not_specialize or name in MULTIPLES
        kind = KINDS.get(name, "i32" if size else "*fp32")
        signature[name] = "constexpr" if name in constants else kind
    aligned = {
        (i,): [["tt.divisibility", 16]]
        for i, (name, kind) in enumerate(signature.items())
        if kind[0] == "*" or name in MULTIPLES
    }
    source = ASTSource(function, signature, constants, aligned)
    target = GPUTarget("cuda", capability, 32)
    kernel = triton.compile(source, target=target, options={"num_warps": warps})
    return kernel.asm["ptx"], kernel.asm["cubin"]


def stack(cubin):
    """Bytes of a thread's stack: none, unless registers are spilled."""
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(cubin)
        file.flush()
        command = [triton.knobs.nvidia.cuobjdump.path, "-res-usage", file.name]
        text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return int(re.search(r"STACK:(\d+)", text)[1])


def check(function, constants, capability, warps, components=None):
    """No atomics, no register spilled, and so many exponentials a thread."""
    what = function.__name__, capability, constants
    ptx, cubin = compiled(function, constants, capability, warps)
    assert not re.search(r"\b(atom|red)\.", ptx), what
    assert stack(cubin) == 0, what
    assert components in (None, ptx.count("ex2.approx.ftz.f32")), what


def mixture():
    """Of near components one exponential each, with a mask or without."""
    every = {"NEED_X": True, "NEED_PARAMETERS": True}
    far = 3 * near.FAR.value // 32  # exponentials of forward in the code for far scores
    for tuned, constants, more in ((near.forward, {}, far), (near.backward, every, 0)):
        for capability in (80, 90):
            for mask, times in (({"known": None}, 1), ({}, 2)):
                for config in tuned.configs if capability == 90 else tuned.configs[1:2]:
                    tile = config.kwargs
                    components = tile["BB"] * tile["BM"] * tile["BK"] // 32
                    constants_here = constants | mask | tile
                    check(tuned.fn, constants_here, capability, 1, components + times * more)
    for capability in (80, 90):
        check(parameters.prepare, {"BK": parameters.BLOCK}, capability, 4)
        for mask in ({}, {"known": None}):
            check(finish.finish, {"BK": parameters.BLOCK, "FLOOR": True} | mask, capability, 4)


def cumulative():
    """All kernels, with the tiles that they are launched with."""
    kernels, tiles = cumulative_kernels, cumulative_cuda
    launches = [
        (kernels.prepare, tiles.PARAMETERS, {}),
        (kernels.carry, tiles.TILE, {}),
        (kernels.forward, tiles.FORWARD, {}),
        (kernels.carry_back, tiles.TILE, {}),
        (kernels.backward, tiles.BACKWARD, {"NEED_X": True}),
        (kernels.finish, tiles.PARAMETERS, {}),
    ]
    for capability in (80, 90):
        for function, tile, constants in launches:
            sizes = {name: size for name, size in tile.items() if name != "num_warps"}
            check(function, sizes | constants, capability, tile["num_warps"])


def coordinates():
    """Both kernels, with the tiles that they are launched with."""
    kernels, tiles = coordinates_kernels, coordinates_cuda
    for capability in (80, 90):
        for function, tile in ((kernels.add_others, tiles.OTHERS), (kernels.score, tiles.SCORE)):
            sizes = {name: size for name, size in tile.items() if name != "num_warps"}
            check(function, sizes, capability, tile["num_warps"])


if __name__ == "__main__":
    rooms = {"mixture": mixture, "cumulative": cumulative, "coordinates": coordinates}
    rooms[sys.argv[1]]()
