import pytest

from gancolor.utils.addresses import is_loopback, listen
from gancolor.utils.errors import InputError


def test_free_port_is_accepted() -> None:
    listen("127.0.0.1", None).close()


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("127.0.0.1", True), ("127.1.2.3", True), ("localhost", True), ("::1", True),
        ("0.0.0.0", False), ("::", False), ("192.168.0.7", False), ("example", False),
    ],
)  # fmt: skip
def test_local_addresses_are_recognised(host: str, expected: bool) -> None:
    assert is_loopback(host) == expected


def test_empty_host_is_refused() -> None:
    with pytest.raises(InputError, match="--host is empty"):
        listen("", None)


def test_name_that_cannot_be_looked_up_is_refused() -> None:
    with pytest.raises(InputError, match="is not an address"):
        listen("é" * 70, None)
