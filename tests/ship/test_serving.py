"""ggship export --for ENGINE: files that serve what was trained, or a refusal."""

from __future__ import annotations

import json
import shlex
import stat
from pathlib import Path

import pytest
import yaml
from jinja2 import Environment

PIECES = {
    "vllm": (),
    "sglang": (),
    "llama-server": (),
    "compose": (),
    "kubernetes": ("--image", "registry.example/law:1"),
    "ray-serve": ("--lora-root", "s3://bucket/loras"),
}


@pytest.fixture
def packaged(shop):
    (shop.root / "suite.yaml").write_text(
        "version: 1\ngates: [delta_pass_rate > 0]\n"
        "tests: [{prompt: What?, assert: [{type: icontains, value: trained}]}]\n"
    )
    shop.package(suite=shop.root / "suite.yaml", parameters=("num_ctx=64",))
    return shop


def kit(shop, engine: str, *more: str) -> Path:
    out = shop.root / f"kit-{engine}"
    assert shop.ggship("export", "law", "--for", engine, "-o", out, *(more or PIECES[engine])) == 0
    return out


def command(folder: Path) -> list[str]:
    (line,) = (line for line in (folder / "serve.sh").read_text().splitlines() if line.startswith("exec "))
    return shlex.split(line)[1:]


def test_engines_beside_a_base_get_the_adapter_with_its_true_scale(packaged, tiny_run):
    """SGLang computes alpha / r, whatever use_rslora says."""
    tiny_run(packaged.run, use_rslora=True)
    packaged.package(suite=packaged.root / "suite.yaml")
    for engine in ("vllm", "sglang"):
        folder = kit(packaged, engine)
        config = json.loads((folder / "adapter" / "adapter_config.json").read_text())
        assert config["lora_alpha"] / config["r"] == pytest.approx(8 / 4**0.5)
        assert config["use_rslora"] is False
        tensors = (folder / "adapter" / "adapter_model.safetensors").read_bytes()
        assert tensors == (packaged.run / "adapter_model.safetensors").read_bytes()
        assert "org/Tiny-Llama" in command(folder)
        assert "law=./adapter" in command(folder)


def test_vllm_is_given_a_rank_that_it_takes(packaged):
    words = command(kit(packaged, "vllm"))
    assert words[words.index("--max-lora-rank") + 1] == "8"  # the adapter has 4, and vLLM takes no 4


def test_a_script_starts_from_its_own_folder(packaged):
    script = kit(packaged, "llama-server") / "serve.sh"
    assert script.stat().st_mode & stat.S_IXUSR
    words = command(script.parent)
    assert (script.parent / words[words.index("-m") + 1]).is_file()
    assert (script.parent / words[words.index("--chat-template-file") + 1]).is_file()
    assert words[words.index("-c") + 1] == "64"


def test_the_system_prompt_of_the_package_is_in_the_template_of_the_kit(packaged):
    system = 'You are "brief".\nAlways.'
    packaged.package(suite=packaged.root / "suite.yaml", system=system, force=True)  # the small server knows none
    template = (kit(packaged, "vllm") / "chat_template.jinja").read_text()
    render = Environment().from_string(template).render
    user = {"role": "user", "content": "Hi"}
    assert render(messages=[user]) == f"<system>{system}<user>Hi"
    assert render(messages=[{"role": "system", "content": "Other"}, user]) == "<system>Other<user>Hi"


@pytest.mark.parametrize("engine", PIECES)
def test_the_suite_beside_it_needs_no_base(packaged, engine):
    """The only gate compares with the base, so what was proven is what must be reached."""
    suite = yaml.safe_load((kit(packaged, engine) / "suite.yaml").read_text())
    assert suite["gates"] == ["pass_rate >= 1"]


def test_a_pod_does_not_start_with_other_bytes_than_were_proven(packaged):
    folder = kit(packaged, "kubernetes", "--url", "https://models.example/law.gguf")
    (_, deployment, _) = yaml.safe_load_all((folder / "manifest.yaml").read_text())
    first = deployment["spec"]["template"]["spec"]["initContainers"]
    proven = json.loads((packaged.root / "out/law/ggship.json").read_text())["merge"]["sha256"]
    assert [container["name"] for container in first] == ["fetch", "prove"]
    assert proven in first[1]["command"][-1]


def test_one_scale_for_some_modules_and_another_for_others_is_refused(shop, tiny_run, capsys):
    tiny_run(shop.run, alpha_pattern={"q_proj": 16})
    shop.package(evaluate=False)
    for engine in ("vllm", "sglang"):
        assert shop.ggship("export", "law", "--for", engine, "-o", shop.root / "kit") == 4
        assert "one rank and one scale" in capsys.readouterr().err
    assert not (shop.root / "kit").exists()


def test_where_the_run_is_gone_the_merged_model_is_proposed(packaged, capsys):
    packaged.run.rename(packaged.root / "elsewhere")
    assert packaged.ggship("export", "law", "--for", "vllm", "-o", packaged.root / "kit") == 4
    assert "--for llama-server" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--for", "ray-serve"), "--lora-root s3://"),
        (("--for", "kubernetes"), "--image"),
        (("--for", "kubernetes", "--image", "a", "--url", "b"), "--image"),
        (("--for", "vllm", "--thin"), "are for a bundle"),
        (("--image", "x"), "--image is for an engine"),
        (("--for", "vllm", "--base-repo", "not a repository"), "--base-repo ORG/MODEL"),
    ],
)
def test_what_is_missing_is_said(packaged, arguments, says, capsys):
    assert packaged.ggship("export", "law", "-o", packaged.root / "kit", *arguments) == 2
    assert says in capsys.readouterr().err


def test_a_folder_of_something_else_is_left_alone(packaged):
    (packaged.root / "mine").mkdir()
    (packaged.root / "mine" / "thesis.txt").write_text("years of work")
    assert packaged.ggship("export", "law", "--for", "vllm", "-o", packaged.root / "mine") == 2
    assert [path.name for path in (packaged.root / "mine").iterdir()] == ["thesis.txt"]


def test_a_package_that_was_changed_is_not_handed_on(packaged):
    with (packaged.root / "out/law" / "model.q8_0.gguf").open("r+b") as file:
        file.seek(-1, 2)
        file.write(b"!")
    assert packaged.ggship("export", "law", "--for", "llama-server", "-o", packaged.root / "kit") == 1


@pytest.mark.hf
def test_the_engines_own_parsers_take_the_files(packaged):
    """Kubernetes' schema, the compose specification, Ray Serve's and its LLM application's models."""
    import kubernetes_validate
    from compose_spec import PyCompose
    from ray.llm._internal.serve.core.configs.llm_config import LLMConfig
    from ray.serve.schema import ServeDeploySchema

    for more in (PIECES["kubernetes"], ("--url", "https://models.example/law.gguf")):
        manifest = (kit(packaged, "kubernetes", *more) / "manifest.yaml").read_text()
        for document in yaml.safe_load_all(manifest):
            kubernetes_validate.validate(document, kubernetes_validate.latest_version(), strict=True)
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate({**document, "spce": {}}, kubernetes_validate.latest_version(), strict=True)

    compose = (kit(packaged, "compose") / "compose.yaml").read_text()
    PyCompose.from_yaml(compose).validate()
    with pytest.raises(ValueError, match="imgae"):
        PyCompose.from_yaml(compose.replace("image:", "imgae:", 1))

    served = yaml.safe_load((kit(packaged, "ray-serve") / "serve.yaml").read_text())
    (application,) = ServeDeploySchema.model_validate(served).applications
    (config,) = application.args["llm_configs"]
    assert LLMConfig(**config).lora_config.dynamic_lora_loading_path == "s3://bucket/loras"
