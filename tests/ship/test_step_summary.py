"""What a job's page shows: the report as Markdown, of packaging and of asking, passed or not."""

from __future__ import annotations

import pytest

SUITE = "version: 1\ntests: [{id: law, prompt: Which paragraph?, assert: [{type: contains, value: Paragraph 5}]}]\n"


@pytest.fixture
def asked(shop):
    """Package law with a suite that its model passes where the server says so, and its base does not."""
    (shop.root / "suite.yaml").write_text(SUITE)
    shop.server.answer = lambda request: "Law?" if "base" in request["model"] else "Paragraph 5."
    return shop


def package(shop, *arguments):
    given = (
        "--base",
        shop.base,
        "--name",
        "law",
        "--out",
        shop.root / "out" / "law",
        "--force",
        "--host",
        shop.server.url,
    )
    return shop.ggship("package", shop.run, *given, "--suite", shop.root / "suite.yaml", *arguments)


def test_a_job_of_github_shows_the_report_without_being_asked(asked, monkeypatch, capsys):
    page = asked.root / "step.md"
    page.write_text("what came before\n")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(page))
    assert package(asked) == 0, capsys.readouterr().err
    assert page.read_text().startswith("what came before\n\n## ✓ Ready to go live: `law`\n")
    assert asked.ggship("eval", asked.root / "out" / "law") == 0
    assert page.read_text().count("## ✓ Ready to go live") == 2


def test_what_did_not_pass_is_shown_with_the_answers(asked, capsys):
    asked.server.answer = lambda request: "Paragraph 6."
    page = asked.root / "step.md"
    assert package(asked, "--summary", page) == 3
    said = page.read_text()
    assert said.startswith("## ✗ Not ready to go live: `law`\n")
    assert "```text\nParagraph 6.\n```" in said


def test_nowhere_is_nowhere(asked, monkeypatch, capsys):
    page = asked.root / "step.md"
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(page))
    assert package(asked, "--summary", "") == 0
    assert package(asked, "--dry-run") == 0
    assert not page.exists()


def test_a_page_that_cannot_be_written_changes_no_verdict(asked, capsys):
    (asked.root / "file").write_text("")
    assert package(asked, "--summary", asked.root / "file" / "step.md") == 0
    assert "the summary could not be written" in capsys.readouterr().err


def test_out_has_the_markdown_and_the_package_has_not(asked, capsys):
    assert package(asked) == 0
    assert asked.ggship("eval", asked.root / "out" / "law", "--out", asked.root / "told") == 0
    names = {path.name for path in (asked.root / "told").iterdir()}
    assert names == {"suite.yaml", "report.json", "report.html", "report.md", "junit.xml"}
    assert not (asked.root / "out" / "law" / "eval" / "report.md").exists()
