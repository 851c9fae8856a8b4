"""A browser's cookie jar, for what a client library's jar would be too kind or too strict about."""

from dataclasses import dataclass, field
from urllib.parse import urlsplit


@dataclass
class Jar:
    """What a browser keeps of Set-Cookie headers from one origin, by RFC 6265bis 5.7 as far as it concerns us."""

    origin: str = "https://app.example"
    kept: dict[tuple[str, str | None, str], str] = field(default_factory=dict)

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
        if "max-age" in attributes and int(attributes["max-age"]) <= 0:
            self.kept.pop(key, None)
        else:
            self.kept[key] = value
        return True

    def header(self) -> str:
        """Return the Cookie header of the next request."""
        return "; ".join(f"{name}={value}" for (name, _, _), value in self.kept.items())
