"""Compiled loops on threads: every split of a layer, any OpenMP, concurrent calls, forks."""

import multiprocessing
import subprocess
import sys
import threading

import pytest
import torch

from ugmm.functional import mixture_log_score
from ugmm.kernels.compiled import threads


def layer(batch, n_out, n_in):
    generator = torch.Generator().manual_seed(0)
    shapes = [(batch, n_in)] + 3 * [(n_out, n_in)]
    return [torch.randn(s, generator=generator).requires_grad_() for s in shapes]


def gradients(inputs, kernel):
    score = mixture_log_score(*inputs, kernel=kernel)
    return torch.autograd.grad(score.square().sum(), inputs)


@pytest.mark.parametrize("sizes", [(2000, 1, 40), (300, 2, 80), (8, 64, 200)])
def test_splits_over_rows_and_outputs(sizes):
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        inputs = layer(*sizes)
        results, expected = gradients(inputs, "cpu"), gradients(inputs, "reference")
    finally:
        torch.set_num_threads(before)
    for result, wanted in zip(results, expected, strict=True):
        assert (result - wanted).norm() < 1e-5 * wanted.norm()


def test_without_an_openmp_of_torchs(monkeypatch):
    inputs = layer(200, 30, 100)
    expected = gradients(inputs, "cpu")
    monkeypatch.setattr(threads, "openmp", lambda: None)
    results = gradients(inputs, "cpu")
    torch.testing.assert_close(results, expected, rtol=0, atol=0)


def test_concurrent_calls():
    inputs = layer(200, 30, 100)
    expected = gradients(inputs, "cpu")
    results = [None] * 4

    def work(index):
        for _ in range(10):
            results[index] = gradients(inputs, "cpu")

    workers = [threading.Thread(target=work, args=(i,)) for i in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    for result in results:
        torch.testing.assert_close(result, expected, rtol=0, atol=0)


FORK = """
import os, torch
from ugmm.functional import mixture_log_score
inputs = [torch.randn(200, 100)] + [torch.randn(30, 100) for _ in range(3)]
expected = mixture_log_score(*inputs, kernel="cpu")
child = os.fork()
if child == 0:
    torch.set_num_threads(2)
    os._exit(0 if torch.equal(mixture_log_score(*inputs, kernel="cpu"), expected) else 1)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
"""


@pytest.mark.skipif("fork" not in multiprocessing.get_all_start_methods(), reason="no fork")
def test_a_forked_child_computes_too():
    subprocess.run([sys.executable, "-c", FORK], check=True, timeout=60)
