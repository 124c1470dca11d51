"""The Modelfile as a value: build, render, parse."""

from ggship.modelfile.losses import losses, not_carried
from ggship.modelfile.model import Modelfile, Scalar
from ggship.modelfile.request import to_parameters, to_request
from ggship.modelfile.text import parse, render

__all__ = ["Modelfile", "Scalar", "losses", "not_carried", "parse", "render", "to_parameters", "to_request"]
