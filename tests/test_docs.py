"""The documents hold together: what they link to and name is there."""

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
TRACKED = [
    ROOT / name
    for name in subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()
]
DOCUMENTS = [path for path in TRACKED if path.suffix == ".md" and path.exists()]
TEXTS = [path for path in TRACKED if path.suffix in {".md", ".py", ".toml", ".txt", ".go", ".java"} and path.exists()]


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("document", DOCUMENTS, ids=name_of)
def test_every_relative_link_leads_somewhere(document: Path) -> None:
    prose = re.sub(r"```.*?```", "", document.read_text(), flags=re.DOTALL)
    links = re.findall(r"\]\(([^)#\s]+)", prose)
    relative = [link for link in links if "://" not in link and not link.startswith("mailto:")]
    assert [link for link in relative if not (document.parent / link).exists()] == []


def test_every_document_that_is_named_somewhere_exists() -> None:
    named = {name for path in TEXTS for name in re.findall(r"\bdocs/[a-z-]+\.md\b", path.read_text(errors="ignore"))}
    assert named
    assert [name for name in sorted(named) if not (ROOT / name).exists()] == []


def test_make_help_lists_every_target_that_is_promised() -> None:
    listed = subprocess.run(
        ["make", "--no-print-directory", "help"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    targets = {line.split()[0] for line in listed.stdout.splitlines()}
    promised = {"help", "setup", "run", "demo", "test", "check", "lint", "type", "proto", "clients", "bench", "image"}
    assert promised | {"clean"} <= targets


@pytest.mark.parametrize(
    "word", ["/work" + "/", "/root" + "/", "pypi" + ".org", "proxy.golang" + ".org", "registry.npm" + "js"]
)
def test_no_file_names_this_machine_or_a_registry(word: str) -> None:
    assert [name_of(path) for path in TEXTS if word in path.read_text(errors="ignore")] == []
