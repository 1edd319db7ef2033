"""By which interface processes reach each other where the names of hosts lead nowhere."""

import os
import re
import shutil
import socket
import subprocess

import pytest

from ugmm.cluster import network
from ugmm.cluster.network import find_interface, reach_others


def test_this_machine_is_reached_by_its_loopback():
    assert find_interface("127.0.0.1") == "lo"
    assert find_interface("no.such.host.invalid") is None


@pytest.mark.skipif(shutil.which("ip") is None, reason="the kernel's word needs the command ip")
def test_the_interface_is_that_of_the_kernels_route():
    address = "192.0.2.1"  # of documentation: nobody's
    asked = ["ip", "-o", "route", "get", address]
    told = subprocess.run(asked, capture_output=True, text=True, check=False).stdout
    expected = re.search(r" dev (\S+)", told)
    assert find_interface(address) == (expected and expected[1])


@pytest.mark.parametrize(
    ("resolved", "chosen"), [("127.0.1.1", "eth7"), (None, "eth7"), ("10.1.2.3", None)]
)
def test_it_is_chosen_only_where_the_own_name_leads_nowhere(monkeypatch, resolved, chosen):
    def resolve(_name):
        if resolved is None:
            raise socket.gaierror(-3, "Temporary failure in name resolution")
        return resolved

    monkeypatch.setattr(network.socket, "gethostbyname", resolve)
    monkeypatch.setattr(network, "find_interface", lambda leader: "eth7")
    monkeypatch.setenv("GLOO_SOCKET_IFNAME", "")  # so that it is as before, afterwards
    monkeypatch.delenv("GLOO_SOCKET_IFNAME")
    reach_others("10.1.2.4")
    assert os.environ.get("GLOO_SOCKET_IFNAME") == chosen


def test_what_the_user_has_chosen_stays(monkeypatch):
    monkeypatch.setattr(network, "_name_serves", lambda: False)
    monkeypatch.setenv("GLOO_SOCKET_IFNAME", "ib0")
    reach_others("127.0.0.1")
    assert os.environ["GLOO_SOCKET_IFNAME"] == "ib0"
