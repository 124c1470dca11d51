"""Chat templates: the training prompt, and what the server makes of it."""

from ggship.prompts.bos import adds_bos, server_adds_bos
from ggship.prompts.chat import ChatTemplate, TemplateRefused
from ggship.prompts.families import families, family
from ggship.prompts.gguftemplate import gguf_chat_template
from ggship.prompts.gorender import simulate
from ggship.prompts.gotemplate import GoTemplate, NotInGo, go_template
from ggship.prompts.parity import Difference, PromptProof, prove_prompts
from ggship.prompts.preference import template_preference
from ggship.prompts.probes import PROBES, Probe
from ggship.prompts.stops import stop_strings
from ggship.prompts.tokens import SpecialTokens, special_tokens
from ggship.prompts.training import training_prompt

__all__ = [
    "PROBES",
    "ChatTemplate",
    "Difference",
    "GoTemplate",
    "NotInGo",
    "Probe",
    "PromptProof",
    "SpecialTokens",
    "TemplateRefused",
    "adds_bos",
    "families",
    "family",
    "gguf_chat_template",
    "go_template",
    "prove_prompts",
    "server_adds_bos",
    "simulate",
    "special_tokens",
    "stop_strings",
    "template_preference",
    "training_prompt",
]
