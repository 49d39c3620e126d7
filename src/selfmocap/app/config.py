"""Settings of the app. This module imports nothing heavy, since the command line is built from it."""

from dataclasses import dataclass
from pathlib import Path

LOCAL_HOST = "127.0.0.1"
MIN_PASSWORD_LENGTH = 8


@dataclass(frozen=True)
class AppConfig:
    """Settings of the app. Raises ValueError for an invalid value."""

    port: int = 8090
    """Port of the page; 0 uses any free one."""
    folder: Path = Path("~/selfmocap")
    """Folder of the captures. Videos in it can be chosen on the page; nothing outside is read or written."""
    host: str = LOCAL_HOST
    """Address to listen on. Any other than this machine's own needs a password."""
    password: str | None = None
    """Password of the page, at least 8 characters; - asks for it in the terminal."""
    parallel: int = 1
    """Number of captures at a time."""
    max_upload_gb: float = 20.0
    """Maximum size of a video that is uploaded, GB."""

    def __post_init__(self) -> None:
        if not 0 <= self.port <= 65535:
            raise ValueError(f"port: {self.port}; expected 0 to 65535")
        if self.parallel < 1:
            raise ValueError(f"parallel: {self.parallel}; expected at least 1 capture at a time")
        if not self.max_upload_gb > 0:
            raise ValueError(f"max-upload-gb: {self.max_upload_gb}; expected more than 0")
        if self.host != LOCAL_HOST and self.password is None:
            raise ValueError(
                f"--host {self.host} lets other machines in: give --password too (- asks for it)"
            )
        if self.password not in (None, "-") and len(self.password) < MIN_PASSWORD_LENGTH:
            raise ValueError(f"password: expected at least {MIN_PASSWORD_LENGTH} characters")
