from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from letta_stack.base import process
from letta_stack.base.process import Completed
from letta_stack.engine.inspect import Engine
from letta_stack.errors import AcceleratorMissing, BadValue
from letta_stack.topology import capacity, dotenv, language_model
from letta_stack.topology.project import Project

if TYPE_CHECKING:
    from collections.abc import Mapping

VLLM = Project.of("vllm")


@pytest.fixture(autouse=True)
def dotenv_values(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """Replace the user's `.env`."""
    values: dict[str, str] = {}
    for name in (*language_model.CHOICES, language_model.ENDPOINT_VARIABLE):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(dotenv, "values", lambda: values)
    return values


@pytest.mark.parametrize(
    "url",
    [
        *("http://gpu:8000", "https://llm.example/v1", "http://host.docker.internal:11434"),
        *("http://10.0.0.7", "http://[fd00::7]:8000/openai/v1"),
    ],
)
def test_an_address_arrives_as_it_is(url: str) -> None:
    chosen = language_model.choose(VLLM, kind="ollama", endpoint=url)

    assert chosen.variables == {"LETTA_STACK_LLM": "ollama", "LETTA_STACK_LLM_ENDPOINT": url}


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("gpu:8000", "is not a URL such as"),
        ("gpu", "is not a URL such as"),
        ("ftp://gpu", "is not a URL such as"),
        ("http://", "is not a URL such as"),
        ("http://gpu/v1?key=1", "is not a URL such as"),
        ("http://gpu/v1#a", "is not a URL such as"),
        ("http://gpu:0", "is not a URL such as"),
        ("http://gpu:x", "is not a URL; give one"),
        ("http://[::1", "is not a URL; give one"),
        ("http://gpu:8000/", "ends with a slash"),
    ],
)
def test_what_is_no_address_of_a_server_is_refused(url: str, reason: str) -> None:
    with pytest.raises(BadValue, match=f"^--llm-endpoint '.*' {reason}"):
        language_model.choose(VLLM, kind="", endpoint=url)


def test_a_password_in_an_address_is_refused_and_not_repeated() -> None:
    with pytest.raises(BadValue, match="OPENAI_API_KEY") as raised:
        language_model.choose(VLLM, kind="", endpoint="http://me:hunter2@gpu:8000")

    assert "hunter2" not in str(raised.value)


def test_without_flags_the_choice_is_left_to_compose() -> None:
    assert language_model.choose(VLLM, kind="", endpoint="").variables == {}
    dev = Project.of("dev")
    assert language_model.choose(dev, kind="", endpoint="") is dev


def test_another_program_is_refused() -> None:
    with pytest.raises(BadValue, match="--llm 'sglang' is not known; use one of: ollama, vllm"):
        language_model.choose(VLLM, kind="sglang", endpoint="")


@pytest.mark.parametrize("flags", [{"kind": "vllm"}, {"endpoint": "http://gpu"}], ids=str)
def test_a_topology_without_a_model_refuses_both_flags(flags: Mapping[str, str]) -> None:
    flag = "--llm" if "kind" in flags else "--llm-endpoint"
    with pytest.raises(BadValue, match=f"^{flag}: dev runs no language model; use --env vllm"):
        language_model.choose(Project.of("dev"), **{"kind": "", "endpoint": "", **flags})


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("LETTA_STACK_LLM", "sglang"),
        ("LETTA_STACK_LLM_GPU", "amd"),
        ("LETTA_STACK_LLM_ENDPOINT", "gpu:8000"),
    ],
)
def test_what_the_settings_say_is_checked_as_well(
    name: str, text: str, dotenv_values: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    language_model.check(VLLM)

    dotenv_values[name] = text
    with pytest.raises(BadValue, match=f"^{name} '{text}'"):
        language_model.check(VLLM)

    language_model.check(Project.of("dev"))
    monkeypatch.setenv(name, "")  # as for compose, the shell goes before the file
    language_model.check(VLLM)


def test_a_flag_goes_before_the_shell_and_the_shell_before_the_file(
    dotenv_values: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert VLLM.setting("LETTA_STACK_LLM") == ""
    dotenv_values["LETTA_STACK_LLM"] = "file"
    assert VLLM.setting("LETTA_STACK_LLM") == "file"
    monkeypatch.setenv("LETTA_STACK_LLM", "shell")
    assert VLLM.setting("LETTA_STACK_LLM") == "shell"
    assert VLLM.with_variables({"LETTA_STACK_LLM": "flag"}).setting("LETTA_STACK_LLM") == "flag"


@pytest.mark.parametrize(
    ("variables", "answer", "warning"),
    [
        ({}, Completed(1, "", "refused\n"), ""),
        ({"LETTA_STACK_LLM_ENDPOINT": "http://gpu"}, Completed(0, "", ""), ""),
        (
            {"LETTA_STACK_LLM_ENDPOINT": "http://gpu"},
            Completed(1, "", "refused\n"),
            (
                "nothing answers at http://gpu (refused), so there is no model; start it, then `inv restart "
                "--env vllm --service letta-server`: the server looks for models when it starts"
            ),
        ),
    ],
    ids=["no endpoint", "answers", "silent"],
)
def test_an_endpoint_that_is_silent_gets_a_warning(
    variables: dict[str, str],
    answer: Completed,
    warning: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def probe(argv: list[str]) -> Completed:
        python = ["/usr/bin/python3", "-IS", "-c", language_model.PROBE]
        assert argv == ["docker", "exec", "c", *python, "http://gpu"]
        return answer

    monkeypatch.setattr(process, "probe", probe)
    project = VLLM.with_variables(variables)

    assert language_model.silence(project, "c") == warning


def engine(*, nvidia: bool) -> Engine:
    return Engine(
        version="26.1.5",
        containerd_store=True,
        architecture="amd64",
        root_dir="/",
        buildx="0.13.1",
        compose="2.26.1",
        nvidia=nvidia,
    )


def reserving(*drivers: str) -> dict[str, Any]:
    devices = [{"driver": one, "count": 1, "capabilities": ["gpu"]} for one in drivers]
    reserved: dict[str, Any] = {"devices": devices} if devices else {"memory": "1024"}
    return {"services": {"a": {}, "b": {"deploy": {"resources": {"reservations": reserved}}}}}


def test_a_reserved_gpu_that_the_engine_has_not_is_refused_with_the_ways_out() -> None:
    with pytest.raises(AcceleratorMissing, match=r"^b needs an NVIDIA GPU") as raised:
        capacity.check_accelerators(reserving("nvidia"), engine(nvidia=False))

    assert raised.value.exit_code == 38
    assert "--llm-endpoint URL" in str(raised.value)
    assert "\n" not in str(raised.value)


def test_who_reserves_no_gpu_needs_none() -> None:
    capacity.check_accelerators(reserving(), engine(nvidia=False))
    capacity.check_accelerators(reserving("cdi"), engine(nvidia=False))
    capacity.check_accelerators(reserving("nvidia"), engine(nvidia=True))
