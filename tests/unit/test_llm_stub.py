from __future__ import annotations

import base64
import json
import struct
from typing import Any

import pytest

from tests.smoke.stub import llm_stub as stub


def user(text: str) -> dict[str, Any]:
    return {"role": "user", "content": text}


def chat(*messages: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"model": "gpt-4o-mini", "messages": list(messages), **more}


def cosine(one: list[float], other: list[float]) -> float:
    return sum(a * b for a, b in zip(one, other, strict=True))


def test_a_user_message_is_echoed() -> None:
    answer = stub.completion(chat({"role": "system", "content": "be kind"}, user("hello")))

    assert answer["choices"][0]["message"] == {"role": "assistant", "content": "STUB:hello"}
    assert answer["choices"][0]["finish_reason"] == "stop"


def test_a_message_in_parts_is_read_like_a_plain_one() -> None:
    parts = [{"type": "text", "text": "he"}, {"type": "text", "text": "llo"}]

    assert stub.reply_to([{"role": "user", "content": parts}]).text == "STUB:hello"


def test_a_scripted_tool_is_called_with_its_arguments() -> None:
    answer = stub.completion(chat(user('TOOL memory_insert {"label": "human", "n": {"a": 1}}')))
    choice = answer["choices"][0]
    function = choice["message"]["tool_calls"][0]["function"]

    assert choice["finish_reason"] == "tool_calls"
    assert function["name"] == "memory_insert"
    assert json.loads(function["arguments"]) == {"label": "human", "n": {"a": 1}}


@pytest.mark.parametrize(
    "text",
    ["please TOOL look {}", "TOOL look", "TOOL 1st {}"],
    ids=["not at the start", "no arguments", "not a name"],
)
def test_what_only_looks_like_a_tool_call_is_echoed(text: str) -> None:
    assert stub.reply_to([user(text)]).text == f"STUB:{text}"


def test_the_result_of_a_tool_ends_the_turn() -> None:
    reply = stub.reply_to([user("TOOL look {}"), {"role": "tool", "content": "a heron"}])

    assert reply.tool is None
    assert reply.text == "DONE:a heron"


def test_the_same_request_gets_the_same_answer() -> None:
    request = chat(user("TOOL look {}"))

    first, second = stub.completion(request), stub.completion(request)

    assert first["choices"] == second["choices"]


def test_a_stream_spells_the_plain_answer_word_by_word() -> None:
    request = chat(user("one two  three"))
    chunks = list(stub.completion_chunks(request))
    words = [chunk["choices"][0]["delta"].get("content", "") for chunk in chunks]

    assert "".join(words) == stub.completion(request)["choices"][0]["message"]["content"]
    assert words.count("") == 2  # the first names the role, the last the reason to stop
    assert chunks[-1]["choices"][0]["finish_reason"] == "stop"


def test_a_streamed_tool_call_is_one_chunk() -> None:
    chunks = list(stub.completion_chunks(chat(user('TOOL look {"far": true}'))))
    calls = [
        call for chunk in chunks for call in chunk["choices"][0]["delta"].get("tool_calls", [])
    ]

    assert [call["function"] for call in calls] == [{"name": "look", "arguments": '{"far": true}'}]
    assert calls[0]["index"] == 0
    assert chunks[-1]["choices"][0]["finish_reason"] == "tool_calls"


def test_usage_is_streamed_last_and_only_on_request() -> None:
    plain = list(stub.completion_chunks(chat(user("hello"))))
    asked = list(
        stub.completion_chunks(chat(user("hello"), stream_options={"include_usage": True}))
    )

    assert not any("usage" in chunk for chunk in plain)
    assert asked[-1]["choices"] == []
    assert asked[-1]["usage"] == {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3}


def test_texts_that_share_words_are_near() -> None:
    heron, query, bread = (
        stub.embed(text, 1536)
        for text in ("The heron waits at the river", "a river, a Heron", "Bread rises with yeast")
    )

    assert cosine(heron, heron) == pytest.approx(1)
    assert cosine(heron, query) > 0.5
    assert cosine(bread, query) < 0.1


def test_a_text_without_words_still_has_a_direction() -> None:
    assert cosine(stub.embed("...", 8), stub.embed("", 8)) == pytest.approx(1)


def test_base64_embeddings_hold_the_same_numbers() -> None:
    request = {"model": "text-embedding-3-small", "input": ["a heron", "bread"]}
    plain = stub.embeddings(request)["data"]
    packed = stub.embeddings({**request, "encoding_format": "base64"})["data"]

    for one, other in zip(plain, packed, strict=True):
        numbers = list(struct.unpack("<1536f", base64.b64decode(other["embedding"])))
        assert numbers == pytest.approx(one["embedding"])


@pytest.mark.parametrize(
    ("more", "dimensions"),
    [
        ({"model": "text-embedding-3-small"}, 1536),
        ({"model": "text-embedding-3-large"}, 3072),
        ({"model": "text-embedding-3-large", "dimensions": 256}, 256),
    ],
)
def test_vectors_have_the_length_of_their_model(more: dict[str, Any], dimensions: int) -> None:
    data = stub.embeddings({"input": "one text", **more})["data"]

    assert [len(item["embedding"]) for item in data] == [dimensions]
