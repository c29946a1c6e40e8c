"""`--env vllm`: which program serves the language model, and where. compose/vllm.yaml reads the same two variables."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from letta_stack.base import process
from letta_stack.base.flags import choice
from letta_stack.errors import BadValue
from letta_stack.topology.catalogue import SERVER

if TYPE_CHECKING:
    from letta_stack.topology.project import Project

KIND_VARIABLE = "LETTA_STACK_LLM"
ENDPOINT_VARIABLE = "LETTA_STACK_LLM_ENDPOINT"
GPU_VARIABLE = "LETTA_STACK_LLM_GPU"
# The second is the default of compose/vllm.yaml.
CHOICES = {KIND_VARIABLE: ("ollama", "vllm"), GPU_VARIABLE: ("none", "nvidia")}


# Any answer is one, also "no key" and "no such path".
PROBE = """
import sys, urllib.error, urllib.request
try:
    urllib.request.urlopen(sys.argv[1], timeout=5).close()
except urllib.error.HTTPError:
    pass
except OSError as error:
    sys.exit(str(getattr(error, "reason", error)))
"""


def choose(project: Project, *, kind: str, endpoint: str) -> Project:
    """Return the project with what `--llm` and `--llm-endpoint` say; "" leaves it to `.env`.

    Raises:
        BadValue: the topology has no language model, or a flag has a value that it cannot have.

    """
    given = {"--llm": kind, "--llm-endpoint": endpoint}
    if not project.topology.language_model:
        for flag in (name for name, text in given.items() if text):
            raise BadValue(
                f"{flag}: {project.topology.name} runs no language model; use --env vllm"
            )
        return project
    variables = {}
    if kind:
        variables[KIND_VARIABLE] = choice("--llm", kind, CHOICES[KIND_VARIABLE])
    if endpoint:
        variables[ENDPOINT_VARIABLE] = check_endpoint("--llm-endpoint", endpoint)
    return project.with_variables(variables)


def check(project: Project) -> None:
    """Raise ``BadValue`` if `.env` or the shell asks for what does not exist: compose would miss a file of a strange name."""
    if not project.topology.language_model:
        return
    for name, allowed in CHOICES.items():
        if text := project.setting(name):
            choice(name, text, allowed)
    if text := project.setting(ENDPOINT_VARIABLE):
        check_endpoint(ENDPOINT_VARIABLE, text)


def silence(project: Project, container: str) -> str:
    """Return why no model can be used yet: what `--llm-endpoint` names does not answer the server; "" if it does.

    ``container`` is the server's, from which it is asked.
    """
    url = project.setting(ENDPOINT_VARIABLE) if project.topology.language_model else ""
    if not url:
        return ""
    command = ["docker", "exec", container, "/usr/bin/python3", "-IS", "-c", PROBE, url]
    asked = process.probe(command)
    if asked.ok:
        return ""
    return (
        f"nothing answers at {url} ({asked.stderr.strip()}), so there is no model; start it, then "
        f"`inv restart {project.flags} --service {SERVER}`: the server looks for models when it starts"
    )


def check_endpoint(name: str, text: str) -> str:
    """Return the address of a server of the OpenAI API as the Letta server takes it; ``name`` is where it was given.

    The value is not repeated if it may hold a password.
    """
    try:
        parts = urlsplit(text)
        usable = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:  # a port, or an IPv6 address, that is none
        raise BadValue(f"{name} {text!r} is not a URL; give one such as http://host:8000") from None
    if "@" in parts.netloc:
        raise BadValue(f"{name} holds a password; give the key as OPENAI_API_KEY, the URL without")
    if not usable or parts.query or parts.fragment:
        raise BadValue(f"{name} {text!r} is not a URL such as http://host:8000 or https://host/v1")
    if text != text.rstrip("/"):
        raise BadValue(
            f"{name} {text!r} ends with a slash, which the server does not take off; leave it out"
        )
    return text
