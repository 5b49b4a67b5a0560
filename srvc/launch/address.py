"""Where SRVC listens, checked before anything is started."""

import errno
import os
import socket
from dataclasses import dataclass

from srvc.launch.errors import LaunchError

_NOTHING = "Nothing was started."


@dataclass(frozen=True)
class Address:
    """A host and port of this machine."""

    host: str
    port: int

    @property
    def bind(self) -> str:
        """The address as gunicorn takes it."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def url(self) -> str:
        """The address as a browser on this machine takes it."""
        host = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(self.host)  # noqa: S104
        return f"http://{host}:{self.port}/" if host else f"http://{self.bind}/"

    def require_free(self) -> None:
        """Refuse an address that is taken, forbidden or not of this machine."""
        try:
            family, kind, protocol, _, place = socket.getaddrinfo(
                self.host, self.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
            )[0]
            with socket.socket(family, kind, protocol) as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                probe.bind(place)
                probe.listen()
        except socket.gaierror:
            raise LaunchError(
                f"HOST={self.host} is no address of this machine. {_NOTHING} Use 127.0.0.1, or "
                "0.0.0.0 for every interface."
            ) from None
        except OSError as error:
            raise LaunchError(f"{self._trouble(error)} {_NOTHING} {self._way_out()}") from None

    def _trouble(self, error: OSError) -> str:
        if error.errno == errno.EADDRINUSE:
            return f"Port {self.port} on {self.host} is taken by another program."
        if error.errno == errno.EACCES:
            return f"Port {self.port} is reserved for the system's own services."
        return f"No program may listen on {self.bind}: {error.strerror}."

    def _way_out(self) -> str:
        other = 8001 if self.port == 8000 else 8000
        return f"Stop that program, or choose another port: make run PORT={other}"


def from_environment() -> Address:
    """Return the address that HOST and PORT name."""
    host = os.environ.get("HOST", "").strip() or "127.0.0.1"
    text = os.environ.get("PORT", "").strip() or "8000"
    if not text.isdecimal() or not 1 <= int(text) <= 65535:
        raise LaunchError(
            f"PORT={text} is no port (1 to 65535). {_NOTHING} Correct it, or leave it out for 8000."
        )
    return Address(host, int(text))
