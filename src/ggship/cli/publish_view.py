"""What `ggship publish` prints."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ggship.package import PackageInfo
    from ggship.publish import Published
    from ggship.publish.hub import HubPublished

Rows = list[tuple[str, str]]


def registry_lines(info: PackageInfo, done: Published) -> Rows:
    """A push, or what one would do."""
    if done.dry_run:
        what = "would be pushed; nothing was" if done.pushed else "is there already: nothing would be pushed"
    else:
        what = "pushed, and read back" if done.pushed else "already there, nothing was pushed"
    return [
        (info.name, what),
        ("reference", done.reference),
        ("digest", done.digest),
        *(("replaces" if done.dry_run else "replaced", digest) for digest in [done.replaced] if digest),
        *((layer.kind, f"{layer.digest[7:19]}  {layer.size:,} bytes") for layer in done.layers),
    ]


def hub_lines(info: PackageInfo, done: HubPublished) -> Rows:
    """A commit, or what one would hold."""
    from ggship.card import human_size

    if not done.changed:
        what = "is there already, file by file: nothing was committed"
    elif done.dry_run:
        what = "would be committed; nothing was" + (", and the repository would be made" if done.created else "")
    else:
        what = "committed, and read back"
    total = sum(done.files[path][0] for path in done.sent)
    return [
        (info.name, what),
        ("repository", f"{done.url} ({'private' if done.private else 'public'}{', new' if done.created else ''})"),
        *(("commit", commit) for commit in [done.commit] if commit),
        *(
            ("sends" if done.dry_run else "sent", text)
            for text in [f"{len(done.sent)} files, {human_size(total)}"]
            if done.sent
        ),
        *(
            ("file", f"{path}  {human_size(done.files[path][0])}  sha256 {done.files[path][1][:12]}")
            for path in done.sent
        ),
        *(("removes" if done.dry_run else "removed", path) for path in done.removed),
    ]


def hub_document(info: PackageInfo, done: HubPublished) -> dict[str, Any]:
    """The same as JSON."""
    return {
        "name": info.name,
        "repository": done.repository,
        "url": done.url,
        "commit": done.commit or None,
        "changed": done.changed,
        "dry_run": done.dry_run,
        "created": done.created,
        "private": done.private,
        "files": [{"path": path, "bytes": size, "sha256": sha256} for path, (size, sha256) in done.files.items()],
        "sent": list(done.sent),
        "removed": list(done.removed),
        "notes": list(done.notes),
    }
