"""The stand-in for pulumi-random: what it generates, what it refuses, and when it generates again."""

from __future__ import annotations

import base64
import re
from typing import Any

import bcrypt
import pytest

from rehearsal.providers.protocol.model import UNKNOWN, Refused, Request, ResourceType
from rehearsal.providers.random.provider import RandomProvider

PASSWORD = "random:index/randomPassword:RandomPassword"
STRING = "random:index/randomString:RandomString"
ID = "random:index/randomId:RandomId"
PET = "random:index/randomPet:RandomPet"
INTEGER = "random:index/randomInteger:RandomInteger"
SHUFFLE = "random:index/randomShuffle:RandomShuffle"
BYTES = "random:index/randomBytes:RandomBytes"
UUID = "random:index/randomUuid:RandomUuid"

provider = RandomProvider()


def kind_and_request(token: str) -> tuple[ResourceType, Request]:
    return provider.resource_type(token), Request(urn=f"urn:pulumi:s::p::{token}::one", provider=provider)


def check(token: str, **inputs: Any) -> dict[str, Any]:
    kind, request = kind_and_request(token)
    return kind.check(inputs, {}, request)


def create(token: str, **inputs: Any) -> tuple[str, dict[str, Any]]:
    kind, request = kind_and_request(token)
    return kind.create(check(token, **inputs), request)


def test_a_password_has_the_length_and_the_classes_asked_for() -> None:
    _, outputs = create(PASSWORD, length=20, minUpper=3, minNumeric=4, special=False)
    password = outputs["result"]
    assert len(password) == 20
    assert password.isalnum()
    assert sum(map(str.isupper, password)) >= 3
    assert sum(map(str.isdigit, password)) >= 4


def test_a_password_is_secret_and_its_hash_verifies_it() -> None:
    kind, _ = kind_and_request(PASSWORD)
    id, outputs = create(PASSWORD, length=16)
    assert kind.secret_outputs == {"result", "bcryptHash"}
    assert id == "none"
    assert bcrypt.checkpw(outputs["result"].encode(), outputs["bcryptHash"].encode())


def test_special_characters_can_be_chosen() -> None:
    _, outputs = create(STRING, length=30, upper=False, lower=False, numeric=False, overrideSpecial="_-")
    assert set(outputs["result"]) <= set("_-")


def test_every_change_draws_anew() -> None:
    kind, _ = kind_and_request(PASSWORD)
    before = check(PASSWORD, length=16, keepers={"generation": "1"})
    after = check(PASSWORD, length=16, keepers={"generation": "2"})
    difference = kind.difference(before, after, {})
    assert difference.replacing
    assert not kind.difference(before, check(PASSWORD, length=16, keepers={"generation": "1"}), {}).changes


def test_the_spellings_of_an_id_agree() -> None:
    id, outputs = create(ID, byteLength=8, prefix="lab-")
    drawn = bytes.fromhex(outputs["hex"].removeprefix("lab-"))
    assert len(drawn) == 8
    assert base64.urlsafe_b64decode(id + "=") == drawn
    assert int(outputs["dec"].removeprefix("lab-")) == int.from_bytes(drawn, "big")
    assert outputs["b64Url"] == f"lab-{id}"


def test_a_pet_has_as_many_words_as_asked_for() -> None:
    id, _ = create(PET, length=4, prefix="lab", separator="_")
    assert id.startswith("lab_")
    assert len(id.split("_")) == 5


def test_a_seed_repeats_itself() -> None:
    assert create(INTEGER, min=1, max=10**9, seed="a") == create(INTEGER, min=1, max=10**9, seed="a")
    letters = list("abcdefgh")
    _, first = create(SHUFFLE, inputs=letters, seed="a", resultCount=10)
    _, second = create(SHUFFLE, inputs=letters, seed="a", resultCount=10)
    assert first == second
    assert len(first["results"]) == 10
    assert set(first["results"]) == set(letters)


def test_bytes_are_their_own_id_which_no_state_encrypts() -> None:
    """As pulumi-random has it: its recorded state of RandomBytes has the id fE+Jesqco6w20rpufjykBA==."""
    id, outputs = create(BYTES, length=5)
    assert id == outputs["base64"]
    assert base64.b64decode(id).hex() == outputs["hex"]
    assert "id" not in outputs


def test_a_uuid_is_its_own_id() -> None:
    id, outputs = create(UUID)
    assert re.fullmatch(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}", id)
    assert outputs["result"] == id


def test_a_preview_bears_unknown_inputs() -> None:
    kind, request = kind_and_request(PASSWORD)
    inputs = check(PASSWORD, length=UNKNOWN)
    assert kind.preview(inputs, None, request)["result"] is UNKNOWN


def test_a_refresh_keeps_the_state() -> None:
    kind, request = kind_and_request(STRING)
    inputs = check(STRING, length=4)
    id, outputs = kind.create(inputs, request)
    assert kind.read(id, inputs, outputs, request) == (inputs, outputs)


def test_a_text_is_imported_by_itself_and_a_password_has_no_more_of_it_in_its_id() -> None:
    text = "0123456789abcdef"
    for token, known_as in ((PASSWORD, "none"), (STRING, text)):
        kind, request = kind_and_request(token)
        found = kind.read(text, {}, {}, request)
        assert found
        inputs, outputs = found
        assert outputs["result"] == text
        assert outputs["id"] == known_as
        assert kind.difference(inputs, check(token, length=16), outputs).changes == []
        assert kind.difference(inputs, check(token, length=16, upper=False), outputs).replacing


@pytest.mark.parametrize(
    ("token", "inputs", "expected"),
    [
        (PASSWORD, {}, "length: missing required property"),
        (PASSWORD, {"length": 0}, "length: at least 1 is expected"),
        (PASSWORD, {"length": "16"}, "length: a whole number is expected"),
        (PASSWORD, {"length": 4, "minLower": 3, "minUpper": 3}, "less than the sum of the minima"),
        (PASSWORD, {"length": 8, "minUper": 1}, "minUper: unknown property; did you mean minUpper?"),
        (
            STRING,
            {"length": 8, "upper": False, "lower": False, "numeric": False, "special": False},
            "at least one of special, numeric, upper, lower must be true",
        ),
        (STRING, {"length": 8, "number": False, "numeric": True}, "number: it contradicts numeric"),
        (INTEGER, {"min": 5, "max": 4}, "less than the minimum"),
        (ID, {"byteLength": True}, "byteLength: a whole number is expected"),
        ("random:index/randomCoin:RandomCoin", {}, "does not support random:index/randomCoin:RandomCoin"),
    ],
)
def test_refusals(token: str, inputs: dict[str, Any], expected: str) -> None:
    with pytest.raises(Refused, match=re.escape(expected)):
        check(token, **inputs)
