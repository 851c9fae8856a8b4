"""Where a request comes from: its address and its device."""

from base64 import urlsafe_b64encode
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from hashlib import sha256

from aiosess._client.address import Proxy, client_ip
from aiosess._client.device import Device, describe
from aiosess.events import Origin


@dataclass(frozen=True)
class Caller:
    """
    The client that sent a request; each answer is worked out when it is first asked for.

    Attributes:
        peer: The address of the connection's other end, as aiohttp's ``request.remote`` has it.
        forwarded_for: The values of all ``X-Forwarded-For`` lines in their order.
        user_agent: The ``User-Agent`` header, if there is one.
        trusted: The proxies whose ``X-Forwarded-For`` is believed.

    """

    peer: str | None = field(repr=False)
    forwarded_for: Sequence[str] = field(repr=False)
    user_agent: str | None = field(repr=False)
    trusted: Sequence[Proxy] = field(repr=False)

    @cached_property
    def ip(self) -> str | None:
        """The client's address, through trusted proxies only."""
        return client_ip(self.peer, self.forwarded_for, self.trusted)

    @cached_property
    def device(self) -> Device:
        """The device that the User-Agent describes."""
        return describe(self.user_agent)

    @property
    def digest(self) -> str:
        """The digest that tells this client from another."""
        return client_digest(self.ip, self.device.user_agent)

    @property
    def origin(self) -> Origin:
        """The address and the device, as events have them."""
        return _origin(self.ip, self.device)


def origin_of(ip: str | None, user_agent: str | None) -> Origin:
    """Describe where a request came from whose address and User-Agent were kept."""
    return _origin(ip, describe(user_agent))


def client_digest(ip: str | None, user_agent: str) -> str:
    """Return 16 characters that tell one client from another: they differ with the address and with the User-Agent."""
    return urlsafe_b64encode(sha256(f"{ip} {user_agent}".encode()).digest()[:12]).decode("ascii")


def _origin(ip: str | None, device: Device) -> Origin:
    return Origin(ip=ip, user_agent=device.user_agent, device_name=device.name, device_type=device.type)
