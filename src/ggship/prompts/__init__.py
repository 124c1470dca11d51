"""Chat templates: the training prompt, and what the server makes of it."""

from ggship.prompts.chat import ChatTemplate, TemplateRefused
from ggship.prompts.families import families, family
from ggship.prompts.gguftemplate import gguf_chat_template
from ggship.prompts.gorender import simulate
from ggship.prompts.gotemplate import GoTemplate, NotInGo, go_template
from ggship.prompts.parity import Difference, PromptProof, compare_prompts, prove_prompts
from ggship.prompts.preference import template_preference
from ggship.prompts.probes import PROBES, SPACED_PROBES, Probe
from ggship.prompts.stops import stop_strings
from ggship.prompts.tokens import SpecialTokens, server_adds_bos, special_tokens
from ggship.prompts.training import training_prompt

__all__ = [
    "PROBES",
    "SPACED_PROBES",
    "ChatTemplate",
    "Difference",
    "GoTemplate",
    "NotInGo",
    "Probe",
    "PromptProof",
    "SpecialTokens",
    "TemplateRefused",
    "compare_prompts",
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
