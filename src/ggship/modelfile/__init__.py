"""The Modelfile as a value: build, render, parse."""

from ggship.modelfile.model import Modelfile, Scalar
from ggship.modelfile.request import to_parameters, to_request
from ggship.modelfile.text import not_carried, parse, render

__all__ = ["Modelfile", "Scalar", "not_carried", "parse", "render", "to_parameters", "to_request"]
