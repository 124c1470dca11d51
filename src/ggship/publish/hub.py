"""One commit on the Hugging Face hub, and the proof that it holds what was sent."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ggship.errors import Damaged, Refused, UsageError
from ggship.package import SUMS
from ggship.progress import Progress, Silent
from ggship.publish.hub_errors import explained
from ggship.publish.hub_files import HubFile, listed
from ggship.publish.target import HubPlace
from ggship.secrets import Secret, may_travel, read_secret

if TYPE_CHECKING:
    from huggingface_hub import HfApi

HUB = "https://huggingface.co"
_LARGE = 1 << 20
_WEIGHTS = (".gguf", ".safetensors")
_MOST_SUMS = 1 << 20


@dataclass(frozen=True, slots=True)
class HubPublished:
    """What a repository holds now, or with dry_run would hold.

    commit: read back, "" where nothing was committed. files: path -> (bytes, sha256). sent: paths that are new or
    changed; removed: files of an earlier publication that are no longer part of it. created: the repository is new.
    """

    repository: str
    url: str
    commit: str
    files: Mapping[str, tuple[int, str]]
    sent: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    created: bool = False
    private: bool = True
    dry_run: bool = False
    notes: tuple[str, ...] = ()

    @property
    def changed(self) -> bool:
        """Whether anything was, or would be, committed."""
        return bool(self.sent or self.removed)


def publish_to_hub(
    files: Sequence[HubFile],
    place: HubPlace,
    *,
    message: str,
    token: Secret | None,
    endpoint: str = HUB,
    private: bool = True,
    dry_run: bool = False,
    notes: tuple[str, ...] = (),
    progress: Progress | None = None,
) -> HubPublished:
    """Commit what differs, all of it at once, onto the commit that was looked at; then read every digest back.

    Files that we did not put there stay. private: of a repository that is made now; one that is there keeps what it is.
    Raises UsageError where there is no token or it would travel in the open, ServerError naming the file where an
    upload breaks off, where the token is not taken, and where someone else committed meanwhile: then the repository is
    as it was. Damaged, naming the file, where the hub holds something else afterwards.
    """
    progress = progress or Silent()
    api = _api(token, endpoint)
    url = f"{endpoint}/{place}"
    with explained(place, f"asking {endpoint} who the token belongs to", token):
        _need_namespace(api.whoami(), place, endpoint)
    with explained(place, f"looking at {url}", token):
        before = _info(api, place)
        there = _digests(before)
        ours = {file.path: (file.size, file.sha256()) for file in files}
        sent = tuple(file.path for file in files if not _same(file, ours[file.path][1], there.get(file.path)))
        gone = [path for path in _ours_before(api, place, before, there) if path in there and path not in ours]
    private = bool(getattr(before, "private", private)) if before is not None else private
    done = HubPublished(str(place), url, "", ours, sent, tuple(gone), before is None, private, dry_run, notes)
    if dry_run or not done.changed:
        return done
    if before is None:
        with explained(place, f"making the repository {place}", token):
            api.create_repo(str(place), private=private, exist_ok=False)
            before = api.model_info(str(place), files_metadata=True)
        if private and before.private is not True:
            raise Refused(
                f"the hub made {place} public, and it was to be private: nothing was sent",
                where=url,
                hint="make it private in its settings there and run the same command again, or add --public",
            )
    commit = _commit(
        api, place, [file for file in files if file.path in sent], gone, before.sha, message, token, progress
    )
    with explained(place, f"reading {url} back", token):
        _compare(_digests(api.model_info(str(place), revision=commit, files_metadata=True)), files, ours, url)
    return HubPublished(str(place), url, commit, ours, sent, tuple(gone), done.created, private, False, notes)


def hub_token() -> Secret | None:
    """$HF_TOKEN, the file that $HF_TOKEN_FILE names, or what `hf auth login` left. Raises UsageError as read_secret."""
    found = read_secret("HF_TOKEN")
    if found is not None:
        return found
    from huggingface_hub import get_token

    left = get_token()
    return Secret(left) if left else None


def _api(token: Secret | None, endpoint: str) -> HfApi:
    from huggingface_hub import HfApi
    from huggingface_hub.utils import disable_progress_bars

    if token is None:
        raise UsageError(
            "a token of the Hugging Face hub is needed",
            where="neither HF_TOKEN nor HF_TOKEN_FILE is set, and `hf auth login` left none",
            hint="make one with write access at https://huggingface.co/settings/tokens, and export HF_TOKEN",
        )
    if not may_travel(endpoint):
        raise UsageError(
            "the token would travel in the open", where=endpoint, hint="name an https address in HF_ENDPOINT"
        )
    disable_progress_bars()
    return HfApi(endpoint=endpoint, token=token.reveal())


def _need_namespace(who: Mapping[str, Any], place: HubPlace, endpoint: str) -> None:
    """Raise UsageError where the token's owner is neither that user nor in that organization."""
    mine = [str(who.get("name", "")), *(str(org.get("name", "")) for org in who.get("orgs") or ())]
    if place.user.casefold() not in [name.casefold() for name in mine]:
        raise UsageError(
            f"the token belongs to {mine[0]}, who cannot publish as {place.user}",
            where=f"{endpoint}: {mine[0]}'s organizations: {', '.join(mine[1:]) or 'none'}",
            hint=f"--to hf:{mine[0]}/{place.repository}",
        )


def _info(api: HfApi, place: HubPlace) -> Any:
    """The repository as it is; None where there is none."""
    from huggingface_hub.errors import RepositoryNotFoundError

    try:
        return api.model_info(str(place), files_metadata=True)
    except RepositoryNotFoundError:
        return None


def _digests(info: Any) -> dict[str, tuple[str, str]]:
    """Path -> (sha256 of a large file or "", git's name of it)."""
    siblings = getattr(info, "siblings", None) or ()
    return {one.rfilename: (str(getattr(one.lfs, "sha256", "") or ""), str(one.blob_id or "")) for one in siblings}


def _same(file: HubFile, sha256: str, there: tuple[str, str] | None) -> bool:
    if there is None:
        return False
    return there[0] == sha256 if there[0] else there[1] == file.git_oid()


def _ours_before(api: HfApi, place: HubPlace, info: Any, there: Mapping[str, object]) -> Sequence[str]:
    """What an earlier publication put there, by its SHA256SUMS; a large or unreadable one is not ours."""
    if SUMS not in there:
        return ()
    size = next((one.size for one in info.siblings if one.rfilename == SUMS), 0) or 0
    if size > _MOST_SUMS:
        return ()
    import tempfile
    from pathlib import Path

    with tempfile.TemporaryDirectory() as folder:
        path = api.hf_hub_download(str(place), SUMS, revision=info.sha, local_dir=folder)
        return listed(Path(path).read_text("utf-8", "replace"))


def _commit(
    api: HfApi,
    place: HubPlace,
    files: Sequence[HubFile],
    gone: Sequence[str],
    parent: str,
    message: str,
    token: Secret | None,
    progress: Progress,
) -> str:
    from huggingface_hub import CommitOperationAdd, CommitOperationDelete

    additions = {file.path: CommitOperationAdd(file.path, file.source) for file in files}
    for file in files:  # one by one, before the commit, so that one that fails has a name
        if file.size < _LARGE and not file.path.endswith(_WEIGHTS):
            continue
        progress.start(f"Sending {file.path}", file.size, "bytes")
        with explained(place, f"sending {file.path}", token):
            api.preupload_lfs_files(str(place), additions=[additions[file.path]], free_memory=False)
        progress.advance(file.size)
        progress.done()
    progress.start("Committing")
    with explained(place, f"committing to {place}", token):
        commit = api.create_commit(
            str(place),
            [*additions.values(), *(CommitOperationDelete(path) for path in gone)],
            commit_message=message,
            parent_commit=parent,
        )
    progress.done(str(commit.oid)[:12])
    return str(commit.oid)


def _compare(
    there: Mapping[str, tuple[str, str]], files: Sequence[HubFile], ours: Mapping[str, tuple[int, str]], url: str
) -> None:
    wrong = [file.path for file in files if not _same(file, ours[file.path][1], there.get(file.path))]
    if wrong:
        raise Damaged(
            "the hub holds something else than what was sent",
            where=f"{url}: {', '.join(wrong)}",
            hint="run the same command again; if it stays so, do not use this copy",
        )
