"""Who may ask: keys from a file or the environment."""

import hmac
import ipaddress
from collections.abc import Iterable, Sequence
from hashlib import sha256
from pathlib import Path

from self_ensemble.errors import UserError, reading

ENVIRONMENT = "SELF_ENSEMBLE_API_KEYS"
SHORTEST = 16  # characters


class Keys:
    """Keys of which only digests are kept; none at all lets everybody in."""

    def __init__(self, keys: Sequence[str]) -> None:
        """Take keys.

        Raises:
            UserError: One is short enough to be guessed, or no header can carry it.
        """
        for number, key in enumerate(keys, start=1):
            if len(key) < SHORTEST:
                raise UserError(
                    f"Key {number} has {len(key)} characters, which can be guessed. Give "
                    f"{SHORTEST} or more, for example of `openssl rand -hex 24`.",
                    "SE-1002",
                )
            if not key.isascii() or not key.isprintable() or " " in key:
                raise UserError(
                    f"Key {number} has characters that no HTTP header carries.", "SE-1002"
                )
        self._digests = [_digest(key.encode()) for key in keys]

    @classmethod
    def read(cls, file: Path | None, environment: str | None) -> "Keys":
        """Keys of a file, one a line, and of the environment, with commas between.

        In a file `#` begins a comment.

        Raises:
            UserError: The file cannot be read, has no key, or a key cannot be one.
        """
        keys = [] if environment is None else _filled(environment.split(","))
        if file is not None:
            with reading(file, "Give a file of keys, one a line."):
                lines = file.read_text(encoding="utf-8").splitlines()
            found = _filled(line.partition("#")[0] for line in lines)
            if not found:
                raise UserError(f"The file {file} has no key. Write one a line.", "SE-1001")
            keys += found
        return cls(keys)

    @property
    def are_there(self) -> bool:
        """Whether a key is asked for at all."""
        return bool(self._digests)

    def admit(self, authorization: bytes | None) -> bool:
        """Whether a header `Authorization: Bearer KEY` is there with one of the keys."""
        if not self.are_there:
            return True
        scheme, _, key = (authorization or b"").partition(b" ")
        given = _digest(key.strip())
        # All of them, each in constant time: how long it takes tells nothing of any key.
        matches = [hmac.compare_digest(given, one) for one in self._digests]
        return scheme.lower() == b"bearer" and any(matches)


def check_address(host: str, keys: Keys) -> None:
    """Refuse to listen to other machines without keys.

    Raises:
        UserError: The address is not the loopback's, and there is no key.
    """
    if not keys.are_there and not is_loopback(host):
        raise UserError(
            f"Got --host {host} and no key: anybody who reaches this machine could ask. Give "
            f"--api-keys FILE or set {ENVIRONMENT}, or stay on 127.0.0.1.",
            "SE-1001",
        )


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches an address."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _digest(key: bytes) -> bytes:
    return sha256(key).digest()


def _filled(texts: Iterable[str]) -> list[str]:
    return [one for text in texts if (one := text.strip())]
