"""Without --base, the base is found in a fixed order, the choice is explained, and a wrong one is never taken."""

from __future__ import annotations

import pytest

from ggship.bases import find_base
from ggship.errors import BaseNotFound, ServerError

NAME = "Tiny-1B-Instruct"


def test_the_path_that_training_named_goes_first(workshop):
    directory = workshop.directory("elsewhere/anything")
    workshop.gguf(f"work/{NAME}.gguf")
    base = find_base(workshop.run(base_model_name_or_path=str(directory)), None)
    assert base.config_dir == directory
    assert "adapter_config.json names it" in base.found


@pytest.mark.parametrize("named", ["../anything", "anything", "./anything/"])
def test_a_path_relative_to_the_run_or_the_working_directory(named, workshop):
    workshop.directory("work/anything")
    run = workshop.run(base_model_name_or_path=named)
    assert find_base(run, None, cwd=workshop.root / "work").config_dir.resolve() == workshop.root / "work/anything"


def test_a_named_path_that_holds_another_model_is_passed_over(workshop, tiny):
    wrong = workshop.directory("elsewhere/anything-1b", tiny(width=32))
    right = workshop.gguf("work/anything-1b.gguf")
    assert find_base(workshop.run(base_model_name_or_path=str(wrong)), None).gguf == right


@pytest.mark.parametrize("place", ["work", "work/lora-out"])
def test_a_gguf_file_or_directory_beside_the_run_or_in_it(place, workshop, tiny):
    workshop.gguf(f"{place}/unrelated.gguf", tiny(width=32))
    file = workshop.gguf(f"{place}/tiny-1b-instruct-f16.gguf")
    base = find_base(workshop.run(), None)
    assert base.gguf == file
    assert "the run" in base.found
    file.unlink()
    directory = workshop.directory(f"{place}/{NAME}")
    assert find_base(workshop.run(), None).config_dir == directory


@pytest.mark.parametrize(
    "name", ["Tiny-1B-Instruct-merged", "merged", "export_Tiny-1B-Instruct", "tiny-1b-instruct-fused"]
)
def test_what_training_itself_made_is_no_base(name, workshop):
    """A merged model has all the right shapes, and the update in it already."""
    workshop.directory(f"work/lora-out/{name}")
    with pytest.raises(BaseNotFound) as caught:
        find_base(workshop.run(), None)
    assert f"{name}: by its name it is a product of training" in caught.value.where


def test_what_ggship_made_is_no_base(workshop, shelf):
    file = workshop.gguf(general__name=NAME, ggship__adapter="0123")
    shelf.add("law-helper", file, workshop.root / "blobs")
    with pytest.raises(BaseNotFound) as caught:
        find_base(workshop.run(), None, ollama=shelf)
    assert "ollama:law-helper: ggship made it from an adapter" in caught.value.where


def test_ollama_goes_before_the_cache_and_after_what_lies_beside(workshop, shelf, revision):
    run = workshop.run()
    snapshot = workshop.cache("org/Tiny-1B-Instruct")
    base = find_base(run, None, ollama=shelf)
    assert base.config_dir == snapshot
    assert (base.ref, base.revision) == ("hf:org/Tiny-1B-Instruct", revision)
    assert "the Hugging Face cache holds it" in base.found
    shelf.add("tiny:1b", workshop.gguf("made/tiny.gguf"), workshop.root / "blobs")
    assert find_base(run, None, ollama=shelf).ref == "ollama:tiny:1b"
    workshop.gguf("work/tiny-1b.gguf")
    assert find_base(run, None, ollama=shelf).ref.endswith("work/tiny-1b.gguf")


@pytest.mark.parametrize("local", [True, False])
def test_ollama_holds_several_and_one_fits(local, workshop, shelf, tiny):
    shelf.local, shelf.modern = local, True
    for name, size in (("tiny:7b", tiny(width=32)), ("tiny:1b", tiny()), ("llama:1b", tiny(inner=48))):
        shelf.add(name, workshop.gguf(f"made/{len(shelf.models)}.gguf", size), workshop.root / "blobs")
    shelf.add("law", workshop.gguf("made/law.gguf"), workshop.root / "blobs", adapter=True)
    base = find_base(workshop.run(), None, ollama=shelf)
    assert base.ollama_name == "tiny:1b"
    assert base.tensors
    assert base.alternatives == ()
    assert (base.gguf is not None) == local
    # the long answer is asked for where it can matter, and nowhere else
    assert [name for name, verbose in shelf.asked if verbose] == ([] if local else ["tiny:1b"])


def test_several_that_fit_are_listed_and_the_choice_is_explained(workshop, shelf):
    import numpy as np

    blobs = workshop.root / "blobs"
    shelf.add("other:1b", workshop.gguf("made/a.gguf"), blobs)
    shelf.add("tiny:1b-instruct-f16", workshop.gguf("made/b.gguf"), blobs)
    base = find_base(workshop.run(), None, ollama=shelf)
    assert base.ref == "ollama:tiny:1b-instruct-f16"
    assert base.alternatives == ("ollama:other:1b",)
    assert "2 fit, its name is nearest" in base.found
    shelf.add("tiny:1b-instruct-f32", workshop.gguf("made/c.gguf", dtype=np.float32), blobs)
    base = find_base(workshop.run(), None, ollama=shelf)
    assert base.ref == "ollama:tiny:1b-instruct-f32"
    assert "most precision" in base.found


def test_of_one_file_under_two_names_the_one_that_training_wrote_down(workshop, shelf):
    blobs, file = workshop.root / "blobs", workshop.gguf("made/a.gguf", general__name="Tiny 1B Instruct")
    for name in ("gateway-test:v1", "tiny:1b-instruct"):
        shelf.add(name, file, blobs)
    base = find_base(workshop.run(), None, ollama=shelf)
    assert base.ref == "ollama:tiny:1b-instruct"
    assert base.alternatives == ("ollama:gateway-test:v1",)
    assert "called by the name" in base.found


@pytest.mark.parametrize("name", ["tiny:1b-base", "tiny-coder:1b", "tiny:1b-distill", "stranger:3b"])
def test_the_right_shapes_under_another_name_are_not_taken(name, workshop, shelf):
    shelf.add(name, workshop.gguf("made/a.gguf"), workshop.root / "blobs")
    with pytest.raises(BaseNotFound) as caught:
        find_base(workshop.run(), None, ollama=shelf)
    assert f"fits: ollama:{name}" in caught.value.where
    assert f"--base ollama:{name}" in caught.value.hint


def test_an_instruct_model_is_no_base_for_what_was_trained_on_the_plain_one(workshop, shelf):
    shelf.add("tiny:1b", workshop.gguf("made/a.gguf", general__finetune="Instruct"), workshop.root / "blobs")
    with pytest.raises(BaseNotFound):
        find_base(workshop.run(base_model_name_or_path="org/Tiny-1B"), None, ollama=shelf)
    assert find_base(workshop.run(), None, ollama=shelf)


def test_a_path_that_tells_no_model_is_matched_by_shape_alone_if_only_one_fits(workshop, shelf):
    run = workshop.run(base_model_name_or_path="/root/autodl-tmp/model")
    shelf.add("tiny:1b", workshop.gguf("made/a.gguf"), workshop.root / "blobs")
    base = find_base(run, None, ollama=shelf)
    assert base.ref == "ollama:tiny:1b"
    assert "by its shapes" in base.found
    shelf.add("other:1b", workshop.gguf("made/b.gguf"), workshop.root / "blobs")
    with pytest.raises(BaseNotFound, match="Several fit"):
        find_base(run, None, ollama=shelf)


@pytest.mark.parametrize(
    "named",
    [
        "unsloth/Tiny-1B-Instruct-bnb-4bit",
        "unsloth/tiny-1b-instruct-unsloth-bnb-4bit",
        "/root/.cache/huggingface/hub/models--org--Tiny-1B-Instruct/snapshots/abc1230000000000000000000000000000000000",
        "/root/.cache/modelscope/hub/models/org/Tiny-1B-Instruct",
        "somebody/Tiny-1B-Instruct",
    ],
)
def test_other_names_of_the_same_model_lead_to_its_original_in_the_cache(named, workshop):
    snapshot = workshop.cache("org/Tiny-1B-Instruct")
    base = find_base(workshop.run(base_model_name_or_path=named), None)
    assert base.config_dir == snapshot


def test_a_four_bit_copy_is_not_taken_for_the_original(workshop):
    workshop.cache("unsloth/Tiny-1B-Instruct-bnb-4bit")
    with pytest.raises(BaseNotFound):
        find_base(workshop.run(base_model_name_or_path="unsloth/Tiny-1B-Instruct-bnb-4bit"), None)


def test_a_revision_that_training_pinned_counts(workshop, revision):
    workshop.cache("org/Tiny-1B-Instruct")
    with pytest.raises(BaseNotFound):
        find_base(workshop.run(revision="d" * 40), None)
    assert find_base(workshop.run(revision=revision), None).revision == revision


def test_a_cache_path_of_another_revision_is_taken_and_said(workshop, revision):
    workshop.cache("org/Tiny-1B-Instruct")
    named = "/root/.cache/huggingface/hub/models--org--Tiny-1B-Instruct/snapshots/" + "d" * 40
    base = find_base(workshop.run(base_model_name_or_path=named), None)
    assert base.revision == revision
    assert "another revision" in base.found


def test_nothing_found_says_what_was_looked_at_and_what_to_do(workshop, shelf, tiny):
    shelf.add("tiny:7b", workshop.gguf("made/a.gguf", tiny(width=32)), workshop.root / "blobs")
    with pytest.raises(BaseNotFound) as caught:
        find_base(workshop.run(), None, ollama=shelf)
    error = caught.value
    assert "training named org/Tiny-1B-Instruct" in error.message
    assert "ollama:tiny:7b: does not fit" in error.where
    assert "adapter 16 x 24, base 32 x 24" in error.where
    assert "beside the run: nothing" in error.where
    assert "hf:org/Tiny-1B-Instruct is not in the Hugging Face cache" in error.where
    assert "--base FILE.gguf" in error.hint
    assert "--base hf:org/Tiny-1B-Instruct --pull" in error.hint
    assert error.exit_code == 1


def test_a_server_that_answers_with_an_error_is_looked_past(workshop, revision):
    class Broken:
        def tags(self):
            raise ServerError("the server answered 500")

    workshop.cache("org/Tiny-1B-Instruct")
    assert find_base(workshop.run(), None, ollama=Broken()).revision == revision


def test_damaged_neighbours_are_looked_past_and_named(workshop):
    for name in ("work/bad.gguf", "work/empty.gguf"):
        workshop.gguf(name)
    (workshop.root / "work/bad.gguf").write_bytes(b"GGUF" + bytes(100))
    (workshop.root / "work/empty.gguf").write_bytes(b"")
    (workshop.directory("work/broken") / "config.json").write_text("{")
    with pytest.raises(BaseNotFound) as caught:
        find_base(workshop.run(), None)
    for name in ("bad.gguf", "empty.gguf", "broken"):
        assert name in caught.value.where


def test_what_the_user_names_is_taken_as_it_is(workshop, shelf, tiny):
    """Whether it fits is check_fit's to say, with a better error than a search has."""
    file = workshop.gguf("made/a.gguf", tiny(width=32))
    assert find_base(workshop.run(), str(file), ollama=shelf).gguf == file
