"""Reading ggship.yaml: every mistake in it is shown with its line."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from ggship.errors import UsageError
from ggship.evals.document import Place, parse_document, read_document
from ggship.project.model import FILE, GATEWAY, PACKAGE, PUBLISH, Gateway, Option, Options, Project, Target, Value
from ggship.releases.promotion import check_public_name
from ggship.runs.several import RunRef, parse_run_ref

VERSION = 1
KEYS = ("version", "run", "name", "base", "suite", "gates", "host", "out", "package", "publish", "gateway")
_REFERENCES = ("ollama:", "hf:")


def read_project(path: Path) -> Project:
    """The project of that file, or of the ggship.yaml in that folder. UsageError, with the line, for any mistake."""
    file = path / FILE if path.is_dir() else path
    if not file.is_file():
        raise UsageError(f"there is no {FILE} here", where=str(file), hint="write one: ggship init ./lora-out")
    return _project(read_document(file), file.resolve())


def parse_project(text: str, path: Path) -> Project:
    """The same, of a text that stands, or would stand, in the file `path`."""
    return _project(parse_document(text, str(path)), path.resolve())


def _project(root: Place, file: Path) -> Project:
    found = root.fields(KEYS, ("run", "name"))
    home = file.parent
    if "version" in found and found["version"].integer(1, 999) != VERSION:
        raise found["version"].error(f"this ggship reads version {VERSION}", "upgrade ggship: pip install -U ggship")
    name = found["name"].text()
    try:
        check_public_name(name)
    except UsageError as error:
        raise found["name"].error(error.message, error.hint) from error
    base, suite, out = found.get("base"), found.get("suite"), found.get("out")
    project = Project(
        path=file,
        runs=tuple(_run(place, home) for place in found["run"].items_or_one()),
        name=name,
        out=_path(out, home) if out else None,
        base=_base(base, home) if base else None,
        suite=_file(suite, home) if suite else None,
        gates=tuple(_gates(found["gates"])) if "gates" in found else (),
        host=found["host"].text() if "host" in found else None,
        package=_options(found["package"], PACKAGE, home) if "package" in found else {},
        publish=tuple(_targets(found["publish"], home)) if "publish" in found else (),
        gateways=tuple(_gateways(found["gateway"], home)) if "gateway" in found else (),
    )
    if project.gates and project.suite is None:
        raise found["gates"].error("gates are rules over a suite", "name one: suite: suite.yaml")
    return project


def _run(place: Place, home: Path) -> RunRef:
    text = place.text()
    try:
        ref = parse_run_ref(str(home / Path(text).expanduser()))
    except UsageError as error:
        raise place.error(error.message, error.hint) from error
    if not ref.path.exists():
        raise place.error(f"there is no run {text}", "name the folder that training wrote")
    return ref


def _base(place: Place, home: Path) -> str:
    text = place.text()
    return text if text.startswith(_REFERENCES) else str(_path(place, home))


def _gates(place: Place) -> Iterator[str]:
    from ggship.evals.gates import parse_gate

    for item in place.items_or_one():
        try:
            yield parse_gate(item.text()).rule
        except UsageError as error:
            raise item.error(error.message, error.hint) from error


def _targets(place: Place, home: Path) -> Iterator[Target]:
    for item in place.items_or_one():
        if item.kind == "a mapping":
            found = item.fields(("to", *(option.key for option in PUBLISH)), ("to",))
            yield Target(_target(found.pop("to")), _chosen(found, PUBLISH, home))
        else:
            yield Target(_target(item))


def _target(place: Place) -> str:
    from ggship.publish import parse_place

    try:
        parse_place(place.text())
    except UsageError as error:
        raise place.error(error.message, error.hint) from error
    return place.text()


def _gateways(place: Place, home: Path) -> Iterator[Gateway]:
    for item in place.items_or_one():
        if item.kind == "a mapping":
            found = item.fields(("name", *(option.key for option in GATEWAY)))
            if not found.keys() & {"name", "url"}:
                raise item.error("which gateway?", "name: of one that was added, or url: its address")
            name = found.pop("name").text() if "name" in found else ""
            yield Gateway(name, _chosen(found, GATEWAY, home))
        else:
            yield Gateway(item.text())


def _options(place: Place, known: tuple[Option, ...], home: Path) -> Options:
    return _chosen(place.fields(tuple(option.key for option in known)), known, home)


def _chosen(found: dict[str, Place], known: tuple[Option, ...], home: Path) -> Options:
    return {option.name: _value(option, found[option.key], home) for option in known if option.key in found}


def _value(option: Option, place: Place, home: Path) -> Value:
    if option.kind == "yes":
        value = place.plain()
        if not isinstance(value, bool):
            raise place.error(f"true or false belongs here, not {place.kind}")
        return value
    if option.kind == "number":
        return place.number()
    if option.kind == "list":
        return tuple(item.text() for item in place.items_or_one())
    if option.kind == "file":
        return _path(place, home)
    text = place.text()
    if option.kind == "choice" and text not in option.choices:
        raise place.error(f"one of {', '.join(option.choices)} belongs here, not {text!r}")
    if option.name == "template" and (home / text).is_file():
        return home / text
    return text


def _file(place: Place, home: Path) -> Path:
    path = _path(place, home)
    if not path.is_file():
        raise place.error(f"there is no file {place.text()}")
    return path


def _path(place: Place, home: Path) -> Path:
    return home / Path(place.text()).expanduser()
