"""Nothing leaves the house unproven: the package passed, and the server still holds exactly what passed."""

from __future__ import annotations

from ggship.errors import GateFailed, Refused
from ggship.package import PackageInfo


def need_proof(info: PackageInfo, held: str | None, *, force: bool = False) -> tuple[str, ...]:
    """Raise unless the package's proof held and `held`, the live model's digest now, is the one that was proven.

    held: None where the server has no such model, which `force` cannot mend. With `force` the other problems come back
    as warnings. Raises GateFailed or Refused.
    """
    if held is None:
        raise Refused(
            f"the server holds no model {info.live_name}",
            where=info.host or "this package was made for no server",
            hint=f"ggship package RUN --name {info.name}   makes it live again",
        )
    problems = _not_passed(info) + _not_what_was_trained(info)
    proven = (info.digest or "").removeprefix("sha256:")
    if held.removeprefix("sha256:") != proven:
        problems.append(
            Refused(
                f"the model behind {info.live_name} is not the one that was proven",
                where=f"the server holds {held[:19]}, the package {proven[:12] or 'names none'}",
                hint=f"ggship package RUN --name {info.name}   proves what is there; --force sends it anyway",
            )
        )
    if problems and not force:
        raise problems[0]
    return tuple(str(problem) for problem in problems)


def need_passed(info: PackageInfo, *, force: bool = False) -> tuple[str, ...]:
    """Like need_proof, for where the package's files go, and not the model of a server."""
    problems = _not_passed(info) + _not_what_was_trained(info)
    if problems and not force:
        raise problems[0]
    return tuple(str(problem) for problem in problems)


def _not_passed(info: PackageInfo) -> list[GateFailed | Refused]:
    if info.passed:
        return []
    return [
        GateFailed(
            f"{info.name} did not pass when it was made, so it goes nowhere",
            where=f"{info.path}/ggship.json: eval.passed",
            hint=f"ggship eval {info.name}   shows what failed; --force sends it anyway",
        )
    ]


def _not_what_was_trained(info: PackageInfo) -> list[GateFailed | Refused]:
    """What `ggship verify --reference` found against the package, if it was asked."""
    path = info.file("eval/report.json")
    if path is None:
        return []
    from ggship.evals.codec import read_report

    found = read_report(path).reference
    if found is None or found.passed:
        return []
    hint = f"ggship verify {info.name} --reference   measures it again; --force sends it anyway"
    return [GateFailed(f"{info.name} is not what was trained", where="\n".join(found.reasons), hint=hint)]
