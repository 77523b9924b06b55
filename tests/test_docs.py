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


def test_readme_says_where_to_get_what_its_commands_need() -> None:
    module = re.search(r"^module (\S+)/clients/go$", (ROOT / "clients/go/go.mod").read_text(), re.MULTILINE)
    assert module is not None
    commands = re.findall(r"```sh\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    assert commands[0].splitlines()[:2] == [f"git clone https://{module[1]}", f"cd {module[1].rpartition('/')[2]}"]


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


# Whether a push may have gone out has one answer, so it has one wording.
SENT_OF_OVERLOADED = "no; maybe only where too many repetitions wait for an earlier call with their id"
PLACES_OF_SENT_OF_OVERLOADED = [
    "README.md",
    "docs/errors.md",
    "docs/operations.md",
    "proto/pushsidecar/type/v1/error_reason.proto",
    "proto/pushsidecar/xg/v1/push_service.proto",
    "clients/go/pushsidecar/xg/v1/push_service_grpc.pb.go",
    "clients/python/src/pushsidecar/xg/v1/push_service_pb2_grpc.py",
    "sidecar/errors.py",
]
OTHER_WORDINGS = re.compile(r"not sent|nothing was sent|sent=no\b|sent is no\b|no or maybe|\| no\b", re.IGNORECASE)


def words_of(text: str) -> str:
    """Return the text without marks of comments, code and emphasis, in one line."""
    return " ".join(re.sub(r"[*`#]", "", text.replace("//", " ")).split())


def paragraphs(path: Path) -> list[str]:
    """Return the rows of tables, the items of lists and the paragraphs of a document or a proto file."""
    text = re.sub(r"^\s*//", "", path.read_text(), flags=re.MULTILINE)
    return [words_of(part) for part in re.split(r"\n\s*\n|\n(?=\s*(?:- |\|))|;\n|\{\n", text)]


@pytest.mark.parametrize("name", PLACES_OF_SENT_OF_OVERLOADED)
def test_whether_an_overloaded_push_was_sent_is_said_in_the_same_words(name: str) -> None:
    assert SENT_OF_OVERLOADED in words_of((ROOT / name).read_text())


def test_whether_an_overloaded_push_was_sent_is_said_in_no_other_words() -> None:
    found = [
        (name_of(path), paragraph)
        for path in [*DOCUMENTS, *(ROOT / "proto").rglob("*.proto")]
        if path.name != "CHANGELOG.md"
        for paragraph in paragraphs(path)
        if "OVERLOADED" in paragraph and OTHER_WORDINGS.search(paragraph)
    ]
    elsewhere = [(name, paragraph) for name, paragraph in found if SENT_OF_OVERLOADED not in paragraph]
    # It says what a `no` does not tell, not when it is one.
    assert [name for name, paragraph in elsewhere if not paragraph.startswith("sent speaks of the call")] == []
    assert len(found) > len(elsewhere)
