"""One HTTP GET of a command, with the standard library only: an HTTP client takes 150 ms to load."""

from __future__ import annotations


def get(url: str, timeout_s: float) -> tuple[int, bytes]:
    """Return status and body; status 0 and the reason when there is no answer."""
    import http.client
    from urllib.parse import urlsplit

    address = urlsplit(url)
    kind = http.client.HTTPSConnection if address.scheme == "https" else http.client.HTTPConnection
    connection = kind(address.netloc, timeout=timeout_s)
    try:
        connection.request("GET", address.path + (f"?{address.query}" if address.query else ""))
        response = connection.getresponse()
        return response.status, response.read()
    except (OSError, http.client.HTTPException, ValueError) as exc:
        return 0, str(exc).encode()
    finally:
        connection.close()
