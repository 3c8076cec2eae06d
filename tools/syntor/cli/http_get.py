"""One HTTP GET with the standard library only: an HTTP client takes 150 ms to load."""

from __future__ import annotations

from collections.abc import Mapping


def get(url: str, timeout_s: float, headers: Mapping[str, str] | None = None) -> tuple[int, bytes]:
    """Return status and body; status 0 and the reason when there is no response."""
    import http.client
    import os
    from urllib.parse import urlsplit

    address = urlsplit(url)
    try:
        connection: http.client.HTTPConnection
        if address.scheme == "https":
            import ssl

            trusted = ssl.create_default_context(cafile=os.environ.get("SYNTOR_TLS_CA") or None)
            connection = http.client.HTTPSConnection(address.netloc, timeout=timeout_s, context=trusted)
        else:
            connection = http.client.HTTPConnection(address.netloc, timeout=timeout_s)
    except OSError as exc:  # the file of SYNTOR_TLS_CA
        return 0, str(exc).encode()
    try:
        target = address.path + (f"?{address.query}" if address.query else "")
        connection.request("GET", target, headers=dict(headers or {}))
        response = connection.getresponse()
        return response.status, response.read()
    except (OSError, http.client.HTTPException, ValueError) as exc:
        return 0, str(exc).encode()
    finally:
        connection.close()
