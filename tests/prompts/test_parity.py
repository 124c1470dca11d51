"""A server's prompt is compared with training's, and a difference names its bytes."""

from __future__ import annotations

from ggship.prompts import PROBES, ChatTemplate, family, go_template, prove_prompts, simulate

LLAMA = family("llama3")
CHATML = family("chatml")


def test_equal_with_and_without_the_bos_that_the_server_adds():
    go = go_template(LLAMA)
    assert prove_prompts(LLAMA, lambda messages: simulate(go.text, messages)).holds
    assert prove_prompts(LLAMA, LLAMA.render).holds


def test_a_second_bos_is_a_difference():
    proof = prove_prompts(LLAMA, lambda messages: "<|begin_of_text|>" + LLAMA.render(messages))
    assert not proof.holds
    assert proof.equal == 0
    assert len(proof.differences) == len(PROBES)


def test_a_bos_that_the_server_adds_again_is_a_difference():
    doubled = go_template(LLAMA, server_adds_bos=False)
    proof = prove_prompts(LLAMA, lambda messages: simulate(doubled.text, messages), adds_bos=True)
    assert proof.equal == 0
    single = go_template(LLAMA, server_adds_bos=True)
    assert prove_prompts(LLAMA, lambda messages: simulate(single.text, messages), adds_bos=True).holds


def test_a_bos_that_nobody_adds_is_a_difference():
    bare = go_template(LLAMA, server_adds_bos=True)
    assert not prove_prompts(LLAMA, lambda messages: simulate(bare.text, messages), adds_bos=False).holds
    assert prove_prompts(LLAMA, LLAMA.render, adds_bos=False).holds


def test_the_one_bos_that_ollama_takes_off_itself_is_none():
    gemma = family("gemma3")
    assert prove_prompts(gemma, gemma.render, adds_bos=True).holds
    assert not prove_prompts(gemma, lambda messages: "<bos>" + gemma.render(messages), adds_bos=True).holds


def test_a_lost_default_system_text_is_found_and_shown():
    trained = family("qwen2.5")
    differences = prove_prompts(trained, CHATML.render).differences
    assert {found.probe for found in differences} >= {"single turn", "several turns", "emoji"}
    assert not {"with system", "empty system"} & {found.probe for found in differences}
    shown = str(differences[0])
    assert "single turn: differs at character 12, byte 12" in shown
    assert "U+0073 LATIN SMALL LETTER S [73]" in shown
    assert "U+0075 LATIN SMALL LETTER U [75]" in shown


def test_the_place_is_told_in_characters_and_in_bytes():
    lossy = prove_prompts(CHATML, lambda messages: CHATML.render(messages).replace("\u3000", "")).differences
    chinese = next(found for found in lossy if found.probe == "Chinese")
    assert chinese.expected[chinese.at] == "\u3000"
    assert chinese.byte == len(chinese.expected[: chinese.at].encode()) > chinese.at
    assert "U+3000 IDEOGRAPHIC SPACE [e3 80 80]" in str(chinese)


def test_a_cut_prompt_ends_where_it_ends():
    found = prove_prompts(CHATML, lambda messages: CHATML.render(messages)[:-1]).differences[0]
    assert "(ends here)" in str(found)
    assert "U+000A" in str(found)


def test_a_server_that_cannot_tell_proves_nothing():
    proof = prove_prompts(CHATML, lambda messages: None)
    assert not proof.holds
    assert "does not say" in str(proof.differences[0])


def test_what_the_template_refuses_is_left_out_and_counted():
    gemma = family("gemma2")
    proof = prove_prompts(gemma, gemma.render)
    assert proof.holds
    assert "with system" in proof.skipped
    assert proof.probes + len(proof.skipped) == len(PROBES)
    nothing = prove_prompts(ChatTemplate("{{ raise_exception('no') }}"), lambda messages: "")
    assert not nothing.holds


def test_the_system_of_the_model_is_part_of_the_expected_prompt():
    go = go_template(CHATML)
    text = "回答要简明。"
    assert prove_prompts(CHATML, lambda m: simulate(go.text, m, system=text), system=text).holds
    assert not prove_prompts(CHATML, lambda m: simulate(go.text, m, system=text)).holds


def test_the_proof_as_a_document_is_plain_data():
    document = prove_prompts(CHATML, family("qwen2.5").render).document()
    assert document["probes"] == len(PROBES)
    assert document["equal"] + len(document["differences"]) == document["probes"]
    assert set(document["differences"][0]) == {"probe", "at", "byte", "training", "server"}
