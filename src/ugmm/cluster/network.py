"""Which network a process of a run on CPUs speaks to the others over.

Gloo takes that of its machine's own name. Where that name does not resolve, or to the machine
itself, as Debian installs it, others are told to look for it on theirs.
"""

import fcntl
import ipaddress
import os
import socket
import struct
from contextlib import suppress

__all__ = ["find_interface", "reach_others"]

_VARIABLE = "GLOO_SOCKET_IFNAME"
_SIOCGIFADDR = 0x8915  # of Linux: asks for the address of an interface


def reach_others(leader: str) -> None:
    """Let Gloo use the interface towards the leading process, if it would find none by itself.

    Args:
        leader: The address of its machine, or a name.
    """
    if _VARIABLE in os.environ or _name_serves():
        return
    if (interface := find_interface(leader)) is not None:
        os.environ[_VARIABLE] = interface


def _name_serves() -> bool:
    """Return whether others reach this machine by what its own name resolves to."""
    with suppress(OSError):  # it resolves to nothing
        return not ipaddress.ip_address(socket.gethostbyname(socket.gethostname())).is_loopback
    return False


def find_interface(machine: str) -> str | None:
    """Return the interface over which a machine is reached; None where that cannot be told."""
    with suppress(OSError), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect((machine, 1))  # sends nothing: it only looks for a way
        own = socket.inet_aton(probe.getsockname()[0])
        for _, name in socket.if_nameindex():
            with suppress(OSError):  # one without an address
                asked = struct.pack("256s", name.encode()[:15])
                if fcntl.ioctl(probe, _SIOCGIFADDR, asked)[20:24] == own:
                    return name
    return None
