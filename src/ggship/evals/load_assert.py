"""Reading assertions and texts of a suite, with their variables filled in."""

from __future__ import annotations

import re
from collections.abc import Mapping

from ggship.errors import UsageError
from ggship.evals import assertions, metrics
from ggship.evals.document import Place, did_you_mean
from ggship.evals.suite import SET, Assertion, canonical_json

ASSERT_KEYS = ("type", "value", "threshold", "weight", "metric", "unit", "assert")
_VARIABLE = re.compile(r"(\\\{\{)|\{\{\s*([^{}]*?)\s*\}\}")


def read_assertion(place: Place, variables: Mapping[str, str], *, in_set: bool = False) -> Assertion:
    """The assertion that stands there; in_set: within another, where no set may stand."""
    fields = place.fields(ASSERT_KEYS, required=("type",))
    type_ = fields["type"].text()
    if type_ == SET:
        if in_set:
            raise place.error(f"`{SET}` holds no other `{SET}`", "put the assertions into the test, or into one set")
        return _read_set(place, fields, variables)
    if not assertions.known(type_):
        near = did_you_mean(type_, [*assertions.names(), SET])
        more = "" if near.startswith("did") else "; one of your own needs --plugins MODULE"
        raise fields["type"].error(f"unknown assertion `{type_}`", near + more)
    if "assert" in fields:
        raise fields["assert"].error(f"only `{SET}` is made of other assertions")
    kind = assertions.kind_of(type_)
    if "threshold" in fields and kind.threshold_is == "none":
        raise fields["threshold"].error(f"`{type_}` has no threshold: it holds or it does not")
    if "unit" in fields and not kind.counts_tokens:
        raise fields["unit"].error(f"`{type_}` counts no tokens, so it has no unit")
    threshold = kind.threshold
    if "threshold" in fields:
        threshold = fields["threshold"].number(0, 1 if kind.threshold_is == "score" else 10**9)
    elif threshold is None and kind.threshold_is != "none":
        raise place.error(f"`{type_}` needs a threshold: {kind.about}")
    unit = fields["unit"].text() if "unit" in fields else "auto"
    if unit not in metrics.UNITS:
        raise fields["unit"].error(f"unknown unit `{unit}`", did_you_mean(unit, metrics.UNITS))
    return Assertion(
        type=type_,
        value=_value(place, fields.get("value"), kind, type_, variables),
        threshold=threshold,
        weight=_weight(fields),
        metric=fields["metric"].text() if "metric" in fields else "",
        unit=unit,
    )


def _read_set(place: Place, fields: Mapping[str, Place], variables: Mapping[str, str]) -> Assertion:
    for key in ("value", "unit"):
        if key in fields:
            raise fields[key].error(f"`{SET}` has no {key}: it is made of the assertions under its `assert`")
    if "assert" not in fields or not (below := fields["assert"].items()):
        raise place.error(f"`{SET}` needs at least one assertion", "put them under its own `assert:`")
    inner = tuple(read_assertion(item, variables, in_set=True) for item in below)
    weight = _weight(fields)
    if weight and not any(one.weight for one in inner):
        raise place.error(
            f"all assertions of this `{SET}` weigh 0, so it can decide nothing", "give one a weight, or the set 0"
        )
    return Assertion(
        type=SET,
        threshold=fields["threshold"].number(0, 1) if "threshold" in fields else None,
        weight=weight,
        metric=fields["metric"].text() if "metric" in fields else "",
        inner=inner,
    )


def _weight(fields: Mapping[str, Place]) -> float:
    return fields["weight"].number(0, 10**6) if "weight" in fields else 1.0


def _value(
    place: Place, value: Place | None, kind: assertions.Kind, type_: str, variables: Mapping[str, str]
) -> str | tuple[str, ...] | None:
    if kind.value == "none":
        if value is not None:
            raise value.error(f"`{type_}` takes no value")
        return None
    if value is None:
        if kind.value == "json?":
            return None
        raise place.error(f"`{type_}` needs a value: {kind.about}")
    if kind.value == "texts":
        texts = tuple(_nonempty(item, variables, type_) for item in value.items())
        if not texts:
            raise value.error(f"`{type_}` needs at least one text")
        return texts
    if kind.value in ("json", "json?"):
        text = canonical_json(value.plain())
    else:
        text = fill(value, variables) if kind.name == "equals" else _nonempty(value, variables, type_)
    if kind.validate is not None:
        try:
            kind.validate(text)
        except UsageError as error:
            raise value.error(error.message, error.hint) from error
    return text


def _nonempty(place: Place, variables: Mapping[str, str], type_: str) -> str:
    text = fill(place, variables)
    if not text.strip():
        raise place.error(f"the value of `{type_}` is empty: every answer or none would hold it")
    return text


def fill(place: Place, variables: Mapping[str, str]) -> str:
    r"""The text with {{name}} filled in; \{{ stands for two braces. Nothing in it is ever run."""

    def replace(match: re.Match[str]) -> str:
        if match.group(1):
            return "{{"
        name = match.group(2)
        if name not in variables:
            near = did_you_mean(name, variables) if variables else "this test has no `vars`"
            raise place.error(f"unknown variable `{name}`", near + r"; for braces as they are write \{{")
        return variables[name]

    return _VARIABLE.sub(replace, place.text())


def named(place: Place) -> set[str]:
    """The variables that the texts below that place name."""
    return {match.group(2) for text in place.texts() for match in _VARIABLE.finditer(text) if match.group(2)}
