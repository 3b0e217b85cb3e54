"""The pages that people read: links lead somewhere, files and commands exist, examples run and print what the page says."""

import os
import re
import subprocess
import sys
from functools import cache
from importlib import metadata

import pytest
from packaging.specifiers import SpecifierSet

PAGES = ["README.md", "bench/README.md", "tests/README.md", *(f"docs/{name}.md" for name in (
    "attacks", "audit", "before-a-release", "beyond-one-machine", "extending", "glossary", "limits", "own-photos", "pipeline",
    "responsible-use", "results", "statistics",
))]  # fmt: skip
MADE_BY_A_RUN = (
    *("audits/", "executed/", "scratch/", "data/", "models/", "downloads/", "sources/"),
    *("results/mine", "results/smoke", "results/trial", "studies/mine", "studies/trial", "."),
)
"""Beginnings of paths that a study makes; they are not in the repository."""
BY_ANOTHER_HAND = (
    *("model_data/", "bubbliiiing/", "docs/configs.md", "ppe/generators/plain.py", "ppe/embedders/colours.py"),
)
"""Paths in other repositories, and those that a reader is told to add."""
ENDINGS = r"py|md|yaml|csv|png|json|ipynb|toml|txt|cff|html|lock"
EXAMPLE = re.compile(r"<!-- example: ([^>]+?) -->\n```python\n(.*?)```\n+<!-- prints -->\n```text\n(.*?)```", re.S)


def read(root, page):
    return (root / page).read_text(encoding="utf-8")


def list_examples(root):
    return [(page, *found) for page in PAGES for found in EXAMPLE.findall(read(root, page))]


def list_anchors(text):
    """The names by which GitHub links to a page's headings."""
    headings = re.findall(r"^#+ (.+)$", re.sub(r"```.*?```", "", text, flags=re.S), re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@cache
def list_commands(root):
    """The commands that ``python -m ppe`` knows."""
    text = subprocess.run([sys.executable, "-m", "ppe", "--help"], cwd=root, capture_output=True, text=True, check=True).stdout
    return set(re.findall(r"^    ([a-z][a-z-]*)", text, re.M))


def test_every_page_is_checked(root):
    assert {path.relative_to(root).as_posix() for path in (root / "docs").glob("*.md")} <= set(PAGES)


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(root, page):
    for target in re.findall(r"\]\(([^)\s]+)\)", read(root, page)):
        if target.startswith("http"):
            continue
        path, _, anchor = target.partition("#")
        file = (root / page).parent / path if path else root / page
        assert file.exists(), f"{page} links to {target}"
        assert not anchor or anchor in list_anchors(file.read_text(encoding="utf-8")), f"{page} links to {target}"


@pytest.mark.parametrize("page", PAGES)
def test_named_files_exist(root, page):
    text = re.sub(r"```.*?```", "", read(root, page), flags=re.S)
    for word in re.findall(r"`([^`\s]+)`", text):
        is_path = re.fullmatch(rf"[\w./-]+/|[\w./-]+\.({ENDINGS})|[\w-]+/[\w./-]+", word) and "/" in word
        if not is_path or word.startswith((*MADE_BY_A_RUN, *BY_ANOTHER_HAND)):
            continue
        assert (root / word).exists(), f"{page} names {word}"


@pytest.mark.parametrize("page", PAGES)
def test_commands_exist(root, page):
    text = read(root, page)
    known = list_commands(root)
    targets = set(re.findall(r"^([\w-]+):", read(root, "Makefile"), re.M))
    for command in re.findall(r"-m ppe ([a-z][\w-]*)", text):
        assert command in known, f"{page}: python -m ppe {command}"
    for target in re.findall(r"(?:`|^|\n)make ([a-z][\w-]*)", text):
        assert target in targets, f"{page}: make {target}"
    for study in re.findall(r"STUDY=([a-z][\w-]*)", text):
        assert study in ("mine", "trial") or (root / "studies" / f"{study}.yaml").is_file(), f"{page}: STUDY={study}"


def test_the_front_page_begins_with_the_ways_in_of_the_readme(root):
    front = read(root, "docs/index.html")
    found = re.search(r'id="[a-z]+-ways-in"', front)
    assert found and found.start() < front.index('id="quick-start"')


def test_tables_that_a_command_writes_have_their_places(root):
    for page, name in (("README.md", "results"), ("docs/results.md", "claims")):
        text = read(root, page)
        first, last = f"<!-- {name}: written by python -m ppe claims -->", f"<!-- end of {name} -->"
        assert text.count(first) == text.count(last) == 1 and text.index(first) < text.index(last)


def test_the_readme_is_short_and_begins_with_a_command(root):
    lines = read(root, "README.md").splitlines()
    assert len(lines) <= 150 and len(read(root, "README.md").split()) <= 1500
    assert next(number for number, line in enumerate(lines, 1) if line.startswith("```")) <= 30


def test_the_registries_that_the_pages_name_exist(root):
    examples = [name for _, name, _, _ in list_examples(root)]
    assert sorted(examples) == ["attack", "data set", "embedder", "generator", "onnx file", "own generator"]
    for file, words in {
        "ppe/datasets/readers.py": ["READERS = {"], "ppe/generators/__init__.py": ["GENERATORS = {"],
        "ppe/attacks/scores.py": ["ATTACKS = {"], "ppe/embedders/__init__.py": ["EMBEDDERS = {"],
        "ppe/config/schema.py": ["READERS = (", "GENERATORS = (", "NETS = ("],
        "ppe/config/schema_generators.py": ["class Generators("],
    }.items():  # fmt: skip
        for word in words:
            assert word in read(root, file), f"{file}: {word}"


@pytest.mark.parametrize("name", ["attack", "data set", "embedder", "generator", "onnx file", "own generator"])
def test_an_example_prints_what_the_page_says(root, tmp_path, name):
    """Alone, in a fresh interpreter, in an empty folder."""
    page, _, code, printed = next(example for example in list_examples(root) if example[1] == name)
    options = {"cwd": tmp_path, "env": {**os.environ, "PYTHONPATH": str(root)}, "timeout": 300}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, **options)
    assert done.returncode == 0, f"{page}, {name}: {done.stderr[-2000:]}"
    assert done.stdout.strip() == printed.strip()


def test_every_pinned_package_runs_on_the_oldest_python_that_the_readme_promises(root):
    """Debian 12 has 3.11.2, and a package that wants 3.11.5 cannot be installed there."""
    assert "Python 3.11 or newer" in (root / "README.md").read_text()
    pins = re.findall(r"^([\w.-]+)==", (root / "constraints.txt").read_text(), re.M)
    wanted = {name: metadata.metadata(name)["Requires-Python"] or "" for name in pins if list(metadata.distributions(name=name))}
    assert len(wanted) > 100
    assert not {name: needs for name, needs in wanted.items() if not SpecifierSet(needs).contains("3.11.0")}
