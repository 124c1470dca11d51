"""Where `--to` leads, and what is said of places that are none."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ggship.errors import UsageError
from ggship.publish import HubPlace, Target, parse_place, parse_target


@pytest.mark.parametrize(
    ("text", "target", "reference"),
    [
        (
            "ollama:localhost:5000/ns/law-helper",
            Target("ollama", "localhost:5000", "ns", "law-helper"),
            "localhost:5000/ns/law-helper:latest",
        ),
        (
            "ollama:127.0.0.1:5000/ns/a:v2",
            Target("ollama", "127.0.0.1:5000", "ns", "a", "v2"),
            "127.0.0.1:5000/ns/a:v2",
        ),
        ("ollama:ns/law.helper", Target("ollama", "registry.ollama.ai", "ns", "law.helper"), "ns/law.helper:latest"),
        (
            "ollama:http://reg.example.com/ns/a:V1",
            Target("ollama", "reg.example.com", "ns", "a", "V1", "http"),
            "reg.example.com/ns/a:V1",
        ),
    ],
)
def test_places(text: str, target: Target, reference: str) -> None:
    assert parse_target(text) == target
    assert target.reference == reference


@pytest.mark.parametrize(
    ("text", "words", "hint"),
    [
        ("law-helper", "what kind of place", "ollama:"),
        ("s3:bucket/x", "what kind of place", "ollama:"),
        ("ollama:law-helper", "no place", "ollama:"),
        ("ollama:localhost:5000/law-helper", "namespace is missing", "localhost:5000/models/law-helper"),
        ("ollama:library/law-helper", "belongs to Ollama", "YOUR-NAMESPACE"),
        ("ollama:localhost:5000/NS/Law", "no namespace 'NS'", "--to ollama:localhost:5000/ns/law"),
        ("ollama:localhost:5000/n.s/law", "no namespace", "ollama:"),
        ("ollama:localhost:5000/ns/law helper", "no name", "ollama:"),
        ("ollama:localhost:5000/ns/law:", "tag after the colon", "ollama:"),
        ("ollama:localhost:5000/ns/law:my-cloud", "where a model runs", "v1"),
        ("ollama:ftp://reg.test/ns/law", "speak ftp", "ollama:"),
        ("ollama:a/b/c/d", "no place", "ollama:"),
        ("ollama:", "no place", "ollama:"),
        ("ollama:reg.test/../law", "no namespace", "ollama:"),
    ],
)
def test_what_is_no_place_is_said_with_one_that_is(text: str, words: str, hint: str) -> None:
    with pytest.raises(UsageError, match=words) as caught:
        parse_target(text)
    assert hint in caught.value.hint


@pytest.mark.parametrize(
    ("host", "near"),
    [
        ("localhost:5000", True),
        ("127.0.0.1", True),
        ("10.1.2.3:5000", True),
        ("[fd00::5]:5000", True),
        ("[fd00::5]", True),
        ("[2606:4700::1]:5000", False),
        ("reg.example.com", False),
        ("8.8.8.8:5000", False),
    ],
)
def test_which_registries_are_near(host: str, near: bool) -> None:
    assert parse_target(f"ollama:{host}/ns/a").near is near


part = st.from_regex(r"[a-z0-9]{1,8}([_-][a-z0-9]{1,8})?", fullmatch=True)


@given(part, part, st.sampled_from(["", "localhost:5000/", "reg.example.com/"]), st.sampled_from(["", ":v1"]))
def test_a_reference_names_the_same_place(namespace: str, model: str, host: str, tag: str) -> None:
    if namespace == "library":
        return
    target = parse_target(f"ollama:{host}{namespace}/{model}{tag}")
    assert parse_target(f"ollama:{target.reference}") == target


def test_a_repository_on_the_hub() -> None:
    place = parse_place("hf:me-2/law.helper_v1")
    assert isinstance(place, HubPlace)
    assert str(place) == "me-2/law.helper_v1"
    assert parse_place("ollama:ns/law") == parse_target("ollama:ns/law")


@pytest.mark.parametrize(
    "text",
    ["hf:law", "hf:me/", "hf:/law", "hf:me/law/x", "hf:me/law..x", "hf:me/-law", "hf:me/law.", "hf:me/law.git",
     "hf:me/law helper", "hf:../law", "hf:me/" + "x" * 96, "hf:"],
)  # fmt: skip
def test_what_the_hub_takes_for_no_repository(text: str) -> None:
    with pytest.raises(UsageError, match="the Hugging Face hub takes no") as caught:
        parse_place(text)
    assert caught.value.hint == "--to hf:USER/REPO"


@given(st.from_regex(r"[A-Za-z0-9._-]{1,12}", fullmatch=True))
def test_a_repository_is_taken_where_the_hubs_own_client_takes_it(name: str) -> None:
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils import validate_repo_id

    try:
        validate_repo_id(f"me/{name}")
    except HFValidationError:
        with pytest.raises(UsageError):
            parse_place(f"hf:me/{name}")
    else:
        assert str(parse_place(f"hf:me/{name}")) == f"me/{name}"
