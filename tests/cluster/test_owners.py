"""Owners: whether one lives, as far as that can be told."""

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from ugmm.cluster import owners
from ugmm.cluster.owners import Owner, this_process


def test_it_is_read_back():
    owner = this_process()
    assert Owner.parse(owner.to_json()) == owner
    assert owner.pid == os.getpid()
    assert owner.lives()


@pytest.mark.parametrize("key", ["host", "boot", "namespace"])
def test_of_elsewhere_nothing_is_known(key):
    assert replace(this_process(), **{key: "elsewhere"}).lives() is None


def test_of_an_owner_that_does_not_know_its_own_start_nothing_is_known():
    assert replace(this_process(), started="").lives() is None


def test_a_later_process_of_the_same_number_is_another():
    assert replace(this_process(), started="1").lives() is False


def test_a_process_that_ended_is_dead():
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        process.wait()
    assert replace(this_process(), pid=process.pid).lives() is False


@pytest.mark.parametrize("pid", [0, -1, 2**31, 10**20, True, "1", 1.0, None])
def test_what_is_no_process_number_is_no_owner(pid):
    assert Owner.parse(replace(this_process(), pid=pid).to_json()) is None


def test_a_proc_of_another_namespace_tells_nothing(tmp_path, monkeypatch):
    owner = this_process()
    (tmp_path / "self").mkdir()
    (tmp_path / "self/stat").write_text(f"{os.getpid() + 1} (python) R")
    monkeypatch.setattr(owners, "_PROC", tmp_path)
    assert owner.lives() is None


def test_without_proc_a_process_exists_or_not(monkeypatch):
    monkeypatch.setattr(owners, "_PROC", Path("/nowhere"))
    owners._describe.cache_clear()
    try:
        owner = this_process()
        assert owner.lives()
        with subprocess.Popen([sys.executable, "-c", ""]) as process:
            process.wait()
        assert replace(owner, pid=process.pid).lives() is False
    finally:
        owners._describe.cache_clear()
