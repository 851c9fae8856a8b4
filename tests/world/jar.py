"""A browser's cookie jar, for what a client library's jar would be too kind or too strict about."""

from dataclasses import dataclass, field
from urllib.parse import urlsplit

Key = tuple[str, str | None, str]  # name, domain, path


@dataclass(frozen=True)
class Kept:
    """A cookie: its value, and when it ends by the jar's clock; None: with the browser."""

    value: str
    ends_at: float | None


@dataclass
class Jar:
    """What a browser keeps of Set-Cookie headers from one origin, by RFC 6265bis 5.7 as far as it concerns us."""

    origin: str = "https://app.example"
    kept: dict[Key, Kept] = field(default_factory=dict)
    now: float = 0.0  # seconds

    def take(self, header: str) -> bool:
        """Store, replace or delete a cookie; False: it was ignored."""
        pair, *rest = header.split(";")
        name, _, value = pair.partition("=")
        attributes = {key.strip().lower(): text.strip() for key, _, text in (part.partition("=") for part in rest)}
        domain, path = attributes.get("domain"), attributes.get("path")
        is_secure = urlsplit(self.origin).scheme == "https"
        if "secure" in attributes and not is_secure:
            return False
        if name.lower().startswith("__host-") and not ("secure" in attributes and path == "/" and domain is None):
            return False
        key = (name, domain, path or "/")
        self.kept[key] = Kept(value, self.now + int(attributes["max-age"]) if "max-age" in attributes else None)
        self.let_pass(0)
        return True

    def let_pass(self, seconds: float) -> None:
        """Let cookies grow older; those whose Max-Age is over go."""
        self.now += seconds
        self.kept = {key: kept for key, kept in self.kept.items() if kept.ends_at is None or kept.ends_at > self.now}

    def lasting(self) -> dict[Key, Kept]:
        """Return what outlives the browser."""
        return {key: kept for key, kept in self.kept.items() if kept.ends_at is not None}

    def header(self) -> str:
        """Return the Cookie header of the next request."""
        return "; ".join(f"{name}={kept.value}" for (name, _, _), kept in self.kept.items())
