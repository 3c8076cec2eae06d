"""How long a model's context is, in each form servers have for it."""

from __future__ import annotations

from typing import Any

import pytest

from syntor.models.context_length import OLLAMA_DEFAULT, ContextLength, of_models, of_ollama, of_props

TRAINED = {"model_info": {"general.parameter_count": 7, "qwen2.context_length": 131072}}


@pytest.mark.parametrize(
    ("entry", "length"),
    [
        ({"id": "m", "max_model_len": 32000}, 32000),
        ({"id": "m", "context_length": 200_000}, 200_000),
        ({"id": "m", "meta": {"n_ctx": 4096, "n_ctx_train": 131072}}, 4096),
        ({"id": "other", "max_model_len": 5}, 0),
        ({"id": "m", "max_model_len": "many", "context_window": None, "meta": 5}, 0),
        ({"id": "m", "max_model_len": -1, "context_length": True}, 0),
        ({"id": "m", "max_model_len": 10**30}, 0),
        (None, 0),
    ],
)
def test_lists_of_models_are_understood(entry: Any, length: int) -> None:
    assert of_models({"data": [None, 5, entry]}, "m") == length
    assert of_models(entry, "m") == 0


def test_llama_cpp_tells_what_a_slot_has() -> None:
    assert of_props({"default_generation_settings": {"n_ctx": 8192}, "total_slots": 1}) == 8192
    assert of_props([]) == of_props(None) == of_props({"default_generation_settings": []}) == 0


@pytest.mark.parametrize(
    ("shown", "running", "length"),
    [
        (TRAINED, {"models": [{"name": "m", "context_length": 16384}]}, 16384),
        (TRAINED | {"parameters": "stop x\nnum_ctx    32768\n"}, {"models": []}, 32768),
        (TRAINED, {"models": [{"name": "other", "context_length": 5}]}, OLLAMA_DEFAULT),
        ({"model_info": {"x.context_length": 2048}}, None, 2048),
        ({"parameters": 5, "model_info": []}, "x", 0),
        (None, None, 0),
    ],
)
def test_ollama_gives_a_loaded_model_what_it_tells(shown: Any, running: Any, length: int) -> None:
    assert of_ollama(shown, running, "m") == length


async def test_an_answer_is_kept_and_a_silent_server_is_left_alone_for_a_while() -> None:
    answers = [0, 5, 9]
    lengths = ContextLength(lambda _, __: _next(answers), "http://127.0.0.1:1/v1")
    assert [await lengths.of("a"), await lengths.of("a")] == [0, 0]
    assert [await lengths.of("b"), await lengths.of("b")] == [5, 5]


async def _next(answers: list[int]) -> int:
    return answers.pop(0)
