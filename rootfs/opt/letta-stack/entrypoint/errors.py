"""One class and one exit code per reason for which the container does not start.

70 to 89 are the container's, in the table of ``letta_stack/errors.py``; docs/exit-codes.md lists all. A message is one line:
what is wrong, then what to do next.
"""

from __future__ import annotations


class StartError(Exception):
    """A reason that has no code of its own."""

    exit_code: int = 70


class BadSetting(StartError):
    """An environment variable has a value that it cannot have."""

    exit_code = 71


class PartialDatabase(StartError):
    """Some of the five LETTA_PG_* parts are set, others are not."""

    exit_code = 72


class BadSecretFile(StartError):
    """A variable that ends in _FILE names a file that is missing, unreadable or empty."""

    exit_code = 73


class BadVolume(StartError):
    """The volume cannot be written, or the container does not run as root."""

    exit_code = 74


class VolumeInUse(StartError):
    """Another running container has its PostgreSQL on this volume."""

    exit_code = 75


class EncryptionKeyMissing(StartError):
    """The data was encrypted with a key that is no longer given."""

    exit_code = 76


class DatabaseUnreachable(StartError):
    """PostgreSQL did not answer in time."""

    exit_code = 77


class DatabaseRefused(StartError):
    """PostgreSQL refuses the user, password, database or TLS."""

    exit_code = 78


class VectorMissing(StartError):
    """The extension ``vector`` is missing and cannot be created by this user."""

    exit_code = 79


class MigrationFailed(StartError):
    """The schema could not be brought to the server's version."""

    exit_code = 80


class RedisUnreachable(StartError):
    """Redis did not answer in time."""

    exit_code = 81


class PartialBackend(StartError):
    """A telemetry backend has its endpoint but no password or key, or the reverse."""

    exit_code = 89
