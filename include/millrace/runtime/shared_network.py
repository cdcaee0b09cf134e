"""The network that a job's isolated instances share: loopback, each other, and nobody else.

Run as `python -I -S shared_network.py NETWORK COMMAND...` by the shim; it becomes the command. NETWORK is a descriptor
of the network namespace to join, or `new` for one of its own. bubblewrap cannot do this: it joins no network, and by
the time it reports the one it has made, that one's loopback may still be down.

Standard library only, like the shim. What it does not do: it does not look for the peers; the shim knows who they are.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import socket
import struct
import sys
from pathlib import Path

CLONE_NEWUSER, CLONE_NEWNET = 0x10000000, 0x40000000
NS_GET_USERNS = 0xB701
"""The ioctl that opens the user namespace which a namespace belongs to."""
SIOCGIFFLAGS, SIOCSIFFLAGS, IFF_UP = 0x8913, 0x8914, 0x1
INTERFACE = "16sh14x"
"""A `struct ifreq`: a name and its flags."""
NEW = "new"
LIBC = ctypes.CDLL(None, use_errno=True)


def make() -> None:
    """Enter a network namespace of one's own, its loopback up.

    Only root may make one just so. Others make it in a user namespace of their own, in which they keep their uid:
    bubblewrap starts in it without capabilities, as it would outside.
    """
    if is_root():
        unshare(CLONE_NEWNET)
    else:
        uid, gid = os.geteuid(), os.getegid()
        unshare(CLONE_NEWUSER | CLONE_NEWNET)
        for name, text in (("setgroups", "deny"), ("uid_map", f"{uid} {uid} 1"), ("gid_map", f"{gid} {gid} 1")):
            Path("/proc/self", name).write_text(text)
    raise_loopback()


def join(network: int) -> None:
    """Enter the network namespace of a peer, through the user namespace that it belongs to."""
    if not is_root():
        setns(fcntl.ioctl(network, NS_GET_USERNS), CLONE_NEWUSER)
    setns(network, CLONE_NEWNET)
    os.close(network)  # or the command would have it


def is_root() -> bool:
    return os.geteuid() == 0


def raise_loopback() -> None:
    """The kernel gives it 127.0.0.1/8 as it comes up."""
    with socket.socket() as any_socket:
        request = struct.pack(INTERFACE, b"lo", 0)
        name, flags = struct.unpack(INTERFACE, fcntl.ioctl(any_socket, SIOCGIFFLAGS, request))
        fcntl.ioctl(any_socket, SIOCSIFFLAGS, struct.pack(INTERFACE, name, flags | IFF_UP))


def unshare(kinds: int) -> None:
    check(LIBC.unshare(kinds))


def setns(namespace: int, kind: int) -> None:
    check(LIBC.setns(namespace, kind))


def check(result: int) -> None:
    if result != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def main() -> None:
    network, *command = sys.argv[1:]
    try:
        if network == NEW:
            make()
        else:
            join(int(network))
    except OSError as error:
        raise PermissionError(
            f"EnableNetworkIsolation with several instances needs a network namespace that they share, and this machine "
            f"refuses it to uid {os.geteuid()} ({error}); allow it user namespaces, use one instance, or leave the "
            "isolation out"
        ) from error
    os.execvp(command[0], command)  # noqa: S606 - a list of arguments, never a shell line


if __name__ == "__main__":
    main()
