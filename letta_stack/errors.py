"""One class and one exit code per outcome, so that a script can tell them apart.

A message is one line: what is wrong, then what to do next. ``tasks.py`` prints it without a traceback.
A new class takes the next free number of its range, here (the container's own in
rootfs/opt/letta-stack/entrypoint/errors.py) and in docs/exit-codes.md:

======= ==============================================================================
3-9     general: a flag's value, ``pins.env``
10-13   images and builds
14-19   clusters: Kubernetes and Swarm, found before anything is applied
20-29   the engine
30-39   found before anything is started
40-49   a running topology
50-69   releases and registries
70-89   the container's own start
90-94   secrets
95-99   certificates
100     policy
101-104 clusters: what is applied and does not come up
105-109 telemetry
110-123 operating a running stack: backups, restores, upgrades
130     Ctrl-C
200-209 taking over what was made elsewhere, and upgrades
210-214 point-in-time recovery
215-219 several hosts of a swarm
220-224 clusters: the namespace's own limits, found before anything is applied
230-234 a database of several members
240-249 signatures of images
======= ==============================================================================

Codes 0 to 2 are Invoke's and the shell's; 124 to 127 and 128 + N are a shell's words for a timeout, for a command that
cannot be run, and for signal N (the highest is 64).
"""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


class LettaStackError(Exception):
    """A reason that has no code of its own."""

    exit_code: int = 3


class BadValue(LettaStackError):
    """A task flag has a value that it cannot have."""

    exit_code = 4


class BadPins(LettaStackError):
    """``pins.env`` is missing, cannot be parsed, or lacks a key."""

    exit_code = 5


class PinsDisagree(LettaStackError):
    """The Dockerfile or a compose file says something else than ``pins.env``."""

    exit_code = 6


class PinsNotReached(LettaStackError):
    """``inv pins --update`` could not reach everything it wanted to resolve."""

    exit_code = 7


class ImageUnavailable(LettaStackError):
    """No registry gives a third-party image, and nothing else was allowed."""

    exit_code = 10


class BootstrapMissing(LettaStackError):
    """Images from Debian packages need a program that is not installed."""

    exit_code = 11


class BuildFailed(LettaStackError):
    """A build began and did not end well; its own output says why."""

    exit_code = 12


class BadSource(LettaStackError):
    """``--letta-source`` is not the source tree of a Letta server."""

    exit_code = 13


class EngineMissing(LettaStackError):
    """There is no container engine, and none can be installed here."""

    exit_code = 20


class EngineUnreachable(LettaStackError):
    """The client is there, but no engine answers."""

    exit_code = 21


class EngineNotPermitted(LettaStackError):
    """The engine's socket is there, but this user may not open it."""

    exit_code = 22


class EngineTooOld(LettaStackError):
    """The engine answers, but is older than the oldest supported one."""

    exit_code = 23


class EngineStoreWrong(LettaStackError):
    """The engine does not use the containerd image store."""

    exit_code = 24


class BuildxMissing(LettaStackError):
    """The buildx plugin is missing or too old."""

    exit_code = 25


class ComposeMissing(LettaStackError):
    """The compose plugin is missing or too old."""

    exit_code = 26


class EngineStartFailed(LettaStackError):
    """The engine was started and does not answer."""

    exit_code = 27


class PortBusy(LettaStackError):
    """A port that the topology publishes is taken."""

    exit_code = 30


class LowDisk(LettaStackError):
    """There is too little room where the engine keeps its data."""

    exit_code = 31


class BadDotenv(LettaStackError):
    """The user's ``.env`` has a line that would not mean what it looks like."""

    exit_code = 32


class WrongArchitecture(LettaStackError):
    """An image was built for another processor than the engine's."""

    exit_code = 33


class BadSettings(LettaStackError):
    """What is set for the server is half of something, or contradicts itself."""

    exit_code = 35


class OtherPostgres(LettaStackError):
    """The data on a volume are of another major version of PostgreSQL."""

    exit_code = 36


class OtherClickHouse(LettaStackError):
    """The telemetry on a volume was written by a ClickHouse whose data this one may not be able to read."""

    exit_code = 39


class WrongOwner(LettaStackError):
    """A service cannot read or write what is mounted from this machine."""

    exit_code = 37


class ServiceFailed(LettaStackError):
    """A service of the topology did not become healthy."""

    exit_code = 40


class NotRunning(LettaStackError):
    """The topology is not up."""

    exit_code = 41


class WaitTimedOut(LettaStackError):
    """What was waited for did not come in time."""

    exit_code = 42


class NotConfirmed(LettaStackError):
    """Data would be deleted, and nobody confirmed it."""

    exit_code = 43


class ProjectLocked(LettaStackError):
    """Another command changes the same project."""

    exit_code = 44


class FaultsRefused(LettaStackError):
    """Faults are not caused here: the project is no staging stack, is not healthy, or nobody confirmed them."""

    exit_code = 46


class FaultsFailed(LettaStackError):
    """A fault did more than it may: a lost write, an outage, an unclear answer; the report says which."""

    exit_code = 47


class StoreFailed(LettaStackError):
    """A store for backups refuses, or cannot be reached."""

    exit_code = 49


class TooFewResources(LettaStackError):
    """The engine has less memory than the topology reserves."""

    exit_code = 34


class AcceleratorMissing(LettaStackError):
    """A service reserves a GPU, and the engine has none to give."""

    exit_code = 38


class BadVersion(LettaStackError):
    """A version is not PEP 440, has no form that a tag can carry, or no source knows one."""

    exit_code = 50


class LettaCode(LettaStackError):
    """From 0.17 on, the name means Letta Code, a different product without this server."""

    exit_code = 51


class VersionsDisagree(LettaStackError):
    """Image metadata, label, tag and the server's own answer are not the same version."""

    exit_code = 52


class BadReference(LettaStackError):
    """A registry, repository or tag does not follow the grammar of image references."""

    exit_code = 53


class TagTaken(LettaStackError):
    """An immutable tag already names another digest."""

    exit_code = 54


class OlderThanLatest(LettaStackError):
    """The version sorts below what `latest` points to."""

    exit_code = 55


class DirtyTree(LettaStackError):
    """The checkout has changes that no commit holds, so its image could not be traced."""

    exit_code = 56


class RegistryDenied(LettaStackError):
    """The registry wants other credentials, or these may not do it (401, 403)."""

    exit_code = 57


class RegistryUnreachable(LettaStackError):
    """The registry gave no usable answer, however often it was asked."""

    exit_code = 58


class RegistryReadOnly(LettaStackError):
    """The registry takes no uploads."""

    exit_code = 59


class RegistryFull(LettaStackError):
    """The registry has no room left."""

    exit_code = 60


class RegistryRefused(LettaStackError):
    """The registry rejects a request that is right by the distribution specification."""

    exit_code = 61


class ContentBroken(LettaStackError):
    """What was built, or what the registry holds, is not what its digest or its labels say."""

    exit_code = 62


class PlatformMissing(LettaStackError):
    """The base image, or what was built, lacks a platform that was asked for."""

    exit_code = 63


class NotReproducible(LettaStackError):
    """Two builds of one commit gave different images."""

    exit_code = 64


class ReleaseIncomplete(LettaStackError):
    """Some registries have the release, others do not; the message names both."""

    exit_code = 65


class BuilderUnfit(LettaStackError):
    """The chosen builder cannot do what was asked of it."""

    exit_code = 66


class BadReports(LettaStackError):
    """The smoke tests' reports are missing, cannot be read, or are not about the same thing."""

    exit_code = 67


class DoesNotStart(LettaStackError):
    """The image that was built for a release does not become a server that answers."""

    exit_code = 68


class SmokeTestsFailed(LettaStackError):
    """A report has failures, or no test ran: nothing to announce a release with."""

    exit_code = 69


class InterruptedByUser(LettaStackError):
    """Ctrl-C. 130 is what a shell gives for it."""

    exit_code = 130


class BadCertificate(LettaStackError):
    """A certificate or key cannot be used."""

    exit_code = 95


class CertificateExpires(LettaStackError):
    """A certificate has ended or soon will."""

    exit_code = 96


class PolicyBroken(LettaStackError):
    """A compose model, an alert rule or a dashboard breaks a rule of the policy, and nobody waived it."""

    exit_code = 100


class SecretsExposed(LettaStackError):
    """Somebody else can read a secret, or its owner is not the one whom the server runs as."""

    exit_code = 90


class BadSecret(LettaStackError):
    """A secret is empty, short, well known, or given in two places."""

    exit_code = 91


class SecretDrifted(LettaStackError):
    """A secret is not the one that the data was made with, and nobody rotated it."""

    exit_code = 92


class SecretsLost(LettaStackError):
    """There is data, but not the secrets that it was made with."""

    exit_code = 93


class NotRotated(LettaStackError):
    """A secret cannot be rotated, or its rotation did not come to its end."""

    exit_code = 94


class UnsupportedPlatform(LettaStackError):
    """There is no collector for this operating system or processor."""

    exit_code = 105


class CollectorMissing(LettaStackError):
    """The host's collector is not installed."""

    exit_code = 106


class CollectorBroken(LettaStackError):
    """The host's collector cannot be had, or is not what was installed, or has another version than pinned."""

    exit_code = 107


class CollectorFailed(LettaStackError):
    """The host's collector did not start, or does not stop."""

    exit_code = 108


class CollectorNotRunning(LettaStackError):
    """The host's collector does not run, or runs and is not healthy."""

    exit_code = 109


class BackupBroken(LettaStackError):
    """A backup is incomplete, or is not what was written."""

    exit_code = 110


class BackupForeign(LettaStackError):
    """A backup belongs to another project or to another encryption key."""

    exit_code = 111


class BackupNewer(LettaStackError):
    """A backup was made by something newer than what would have to read it."""

    exit_code = 112


class BackupUnknown(LettaStackError):
    """There is no such backup."""

    exit_code = 113


class SecretsUnprotected(LettaStackError):
    """A backup would hold secrets that nothing encrypts."""

    exit_code = 114


class IdentityWrong(LettaStackError):
    """A recipient or an identity cannot be used, or does not open this backup."""

    exit_code = 115


class BackupNoRoom(LettaStackError):
    """There is too little room for a backup, or to restore one."""

    exit_code = 116


class RestoreFailed(LettaStackError):
    """A restore ended without success; the message says which database is in use now."""

    exit_code = 117


class BackupDiffers(LettaStackError):
    """What a backup restores to is not what was backed up."""

    exit_code = 118


class DatabaseElsewhere(LettaStackError):
    """The project's data is in a database that is not part of it."""

    exit_code = 119


class Unhealthy(LettaStackError):
    """A check of `inv doctor` fails."""

    exit_code = 120


class DeployFailed(LettaStackError):
    """The new replicas did not become healthy; the old ones serve on."""

    exit_code = 121


class NothingToRollBack(LettaStackError):
    """The history of the project has no earlier deployment."""

    exit_code = 122


class DeployRefused(LettaStackError):
    """What should be deployed does not fit what runs; nothing was changed."""

    exit_code = 123


class NotExpressible(LettaStackError):
    """Kubernetes or Swarm has no place for something of the compose model."""

    exit_code = 14


class ClusterUnreachable(LettaStackError):
    """No cluster answers, or kubectl cannot be had."""

    exit_code = 15


class ContextUnknown(LettaStackError):
    """The context is not in the kubeconfig, or looks like production and nobody said that it is meant."""

    exit_code = 16


class ClusterTooOld(LettaStackError):
    """The cluster is older than the oldest that the objects are tested with."""

    exit_code = 17


class RightsMissing(LettaStackError):
    """The user of the context may not do what is needed."""

    exit_code = 18


class ClusterLacks(LettaStackError):
    """The cluster has no such storage class, kind of object, Secret or room."""

    exit_code = 19


class QuotaTooSmall(LettaStackError):
    """The namespace's quotas or limit ranges do not allow what would be applied."""

    exit_code = 220


class RolloutFailed(LettaStackError):
    """A pod did not become ready; what ran before serves on."""

    exit_code = 101


class NodesCannotPull(LettaStackError):
    """The nodes cannot get an image."""

    exit_code = 102


class ClusterFailed(LettaStackError):
    """The cluster for trials did not start."""

    exit_code = 103


class SourceUnknown(LettaStackError):
    """There is no such container, volume, directory or database to take over, or it cannot be read."""

    exit_code = 200


class SourceInUse(LettaStackError):
    """A PostgreSQL works on the data directory that would be copied."""

    exit_code = 201


class SourceForeign(LettaStackError):
    """What would be taken over is not the database of a Letta server."""

    exit_code = 202


class SourceNewer(LettaStackError):
    """What would be taken over was used by a newer server or PostgreSQL than the one here."""

    exit_code = 203


class SourceOlder(LettaStackError):
    """What would be taken over is older than the oldest schema that this server can migrate."""

    exit_code = 204


class SourceKeyMissing(LettaStackError):
    """What would be taken over has encrypted values, and nobody gave the key that opens them."""

    exit_code = 205


class AdoptFailed(LettaStackError):
    """A takeover did not end well; the message says which data is in use now."""

    exit_code = 206


class UpgradeFailed(LettaStackError):
    """An upgrade did not end well; the message says what runs now."""

    exit_code = 207


class UpgradeUnfinished(LettaStackError):
    """An upgrade was interrupted between two versions of PostgreSQL; what is on the volume is not the data."""

    exit_code = 208


class ArchiveOff(LettaStackError):
    """There is no archive, so no moment can be brought back."""

    exit_code = 210


class MomentOutOfRange(LettaStackError):
    """The archive does not have the moment that was asked for."""

    exit_code = 211


class ArchiveBehind(LettaStackError):
    """PostgreSQL cannot archive what it has written."""

    exit_code = 212


class ArchiveUnreachable(LettaStackError):
    """The place of the archive does not answer, or refuses."""

    exit_code = 213


class HostUnreachable(LettaStackError):
    """What is needed runs on another host, and nobody knows where its engine is."""

    exit_code = 215


class BadVerifyKey(LettaStackError):
    """The key that signatures are compared with cannot be read, or is no public key."""

    exit_code = 240


class NotSigned(LettaStackError):
    """An image has no signature, and one is asked for."""

    exit_code = 241


class SignedByOther(LettaStackError):
    """An image is signed, but not by the key that counts."""

    exit_code = 242


class SignsOther(LettaStackError):
    """The signature that lies beside an image is that of another image."""

    exit_code = 243


class BadSignKey(LettaStackError):
    """The key that a release is signed with cannot be read, or its password does not open it."""

    exit_code = 244


class CommandFailed(LettaStackError):
    """A command failed; ``inv`` leaves with the command's own exit code.

    ``stderr`` is empty if the command's output was streamed: the user has seen it.
    """

    def __init__(self, argv: Sequence[str], exit_code: int, stderr: str = "") -> None:
        """Keep the facts; the message is the command and the last line that it wrote."""
        self.argv = list(argv)
        self.exit_code = exit_code
        self.stderr = stderr
        self.last_line = next(reversed(stderr.strip().splitlines()), "see its output above")
        command = shlex.join(self.argv)
        super().__init__(f"`{command}` failed with exit code {exit_code}: {self.last_line}")


class CommandNotFound(CommandFailed):
    """The program is not installed. 127 is what a shell gives for it."""

    def __init__(self, argv: Sequence[str]) -> None:
        """Name the program that is missing."""
        super().__init__(argv, 127, f"{argv[0]} is not installed or not on PATH")


class OtherDatabase(LettaStackError):
    """A project has its data in a database of the other kind: of one PostgreSQL, or of several members."""

    exit_code = 230


class NotWithMembers(LettaStackError):
    """What was asked for does not work with a database of several members."""

    exit_code = 231


class NoLeader(LettaStackError):
    """No member of the database is its leader."""

    exit_code = 232
