"""Addresses on which the commands that serve something listen."""

import errno
import socket
import sys
from ipaddress import ip_address

from gancolor.utils.errors import InputError

HERE = "127.0.0.1"


def listen(host: str, port: int | None) -> socket.socket:
    """Return a socket that listens on the address and port (None: any free one).

    Raises:
        InputError: nothing can listen there.
    """
    if not host:  # empty would mean every address of this machine
        raise InputError("--host is empty; give an address, such as 127.0.0.1")
    listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port or 0))
        listener.listen()  # two sockets can be bound to one port, but not both listen
    except OSError as error:
        listener.close()
        if error.errno == errno.EADDRINUSE:
            raise InputError(f"port {port} is in use; give another --port") from None
        raise InputError(f"--host {host}, --port {port or 'free'}: {error.strerror}") from None
    except (TypeError, UnicodeError):  # a name that can't be encoded for a look-up
        listener.close()
        raise InputError(f"--host {host} is not an address") from None
    return listener


def is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def in_url(host: str) -> str:
    """Return a host as URLs have it: an IPv6 address in brackets."""
    return f"[{host}]" if ":" in host else host


def warn_if_public(host: str, what: str) -> None:
    """Print a warning if others than this machine can reach the address."""
    if not is_loopback(host):
        print(f"gancolor: warning: at {host}, anyone in the network can use {what}", file=sys.stderr, flush=True)
