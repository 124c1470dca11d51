"""Where a package may end: never in place of something that is not one, and said before any work."""

from __future__ import annotations

from pathlib import Path

import pytest

from ggship.errors import UsageError


def refused(shop, **options) -> UsageError:
    """The refusal; nothing was asked of the server, and nothing was written."""
    before = sorted(path for path in shop.root.rglob("*"))
    with pytest.raises(UsageError) as caught:
        shop.package(**options)
    assert [path for path in shop.server.paths("POST") if path != "/api/create"] == []
    assert sorted(path for path in shop.root.rglob("*")) == before
    return caught.value


@pytest.mark.parametrize("out", [".", "..", "/", "lora-out/.."])
def test_not_the_folder_one_stands_in_nor_one_above_it(shop, out):
    assert "a folder of its own" in refused(shop, out=Path(out)).hint


def test_not_a_file(shop):
    (shop.root / "thesis.doc").write_text("ten years of work")
    assert "file" in refused(shop, out=shop.root / "thesis.doc").message
    assert "file" in refused(shop, out=shop.root / "thesis.doc" / "below").message


def test_not_a_mount_point(shop):
    assert "mount point" in refused(shop, out=Path("/proc")).message


def test_not_a_folder_of_something_else_nor_one_that_only_looks_like_a_held_package(shop):
    for name in ("law", "law.held"):
        (shop.root / name).mkdir()
        (shop.root / name / "thesis.doc").write_text("ten years of work")
        assert "not a package" in refused(shop, out=shop.root / "law").message
        (shop.root / name / "thesis.doc").unlink()


def test_a_link_to_a_folder_means_the_folder(shop):
    (shop.root / "big-disk").mkdir()
    (shop.root / "link").symlink_to("big-disk")
    package = shop.package(out=shop.root / "link", evaluate=False).info
    assert (shop.root / "link").is_symlink()
    assert (shop.root / "big-disk" / "ggship.json").is_file()
    assert package.path.resolve() == (shop.root / "big-disk").resolve()


def test_two_names_with_one_folder_do_not_replace_each_other(shop):
    shop.package("ns-law", out=None, evaluate=False)
    before = (shop.root / "dist" / "ns-law" / "ggship.json").read_bytes()
    error = refused_name(shop)
    assert "the package of ns-law" in error.message
    assert "--out" in error.hint
    assert (shop.root / "dist" / "ns-law" / "ggship.json").read_bytes() == before


def refused_name(shop) -> UsageError:
    with pytest.raises(UsageError) as caught:
        shop.package("ns/law", out=None, evaluate=False)
    return caught.value


@pytest.mark.parametrize("tag", ["ggship-staging", "ggship-base", "previous", "Previous", "previous-v1"])
def test_tags_that_ggship_needs_itself_are_refused(shop, tag):
    assert "ggship itself uses" in refused(shop, name=f"law:{tag}").message


def test_a_base_in_the_hugging_face_cache_is_brought_as_a_file(old_shop):
    blobs, snapshot = old_shop.root / "hub" / "blobs", old_shop.root / "hub" / "snapshots" / "abc"
    blobs.mkdir(parents=True)
    snapshot.mkdir(parents=True)
    old_shop.base.rename(blobs / "0123")
    (snapshot / "base.gguf").symlink_to("../../blobs/0123")
    package = old_shop.package(base=str(snapshot / "base.gguf"), evaluate=False).info
    brought = package.path / "base.gguf"
    assert not brought.is_symlink()
    assert brought.read_bytes() == (blobs / "0123").read_bytes()
