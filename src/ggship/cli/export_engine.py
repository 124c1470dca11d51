"""`ggship export --for ENGINE`: a proven package as ready-to-run files."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from ggship.cli.terminal import Terminal
from ggship.errors import UsageError

if TYPE_CHECKING:
    from ggship.package import PackageInfo


def export_for(
    terminal: Terminal,
    info: PackageInfo,
    engine: str,
    out: Path,
    where: Mapping[str, str],
    *,
    force: bool,
    bundle: bool,
) -> None:
    """Write the files of that engine into the folder `out`, of a package that is whole and passed its gates."""
    from ggship.releases.proof import need_passed
    from ggship.serving import Options, make_kit, suite_of, write_kit
    from ggship.verify import verify_package

    if bundle:
        raise UsageError("--thin and --sign are for a bundle", hint="leave them out with --for")
    for problem in need_passed(info, force=force):
        terminal.warn(problem)
    verify_package(info)
    options = Options(where["base_repo"], where["image"], where["url"], where["lora_root"])
    kit = make_kit(info, engine, options)
    written = write_kit(kit, out, name=info.name, engine=engine, suite=suite_of(info))
    if terminal.as_json:
        files = [path.relative_to(out).as_posix() for path in written]
        terminal.document(
            {
                "name": info.name,
                "engine": engine,
                "folder": str(out),
                "files": files,
                "start": kit.start,
                "url": kit.url,
                "notes": list(kit.notes),
            }
        )
        return
    terminal.lines([("wrote", f"{out}: {', '.join(path.relative_to(out).as_posix() for path in written)}")])
    terminal.lines([("note", note) for note in kit.notes])
    suite = " --suite suite.yaml" if (out / "suite.yaml").is_file() else ""
    terminal.say(f"\n→ cd {out} && {kit.start}\n→ ggship eval {kit.url}#{info.name}{suite}")
