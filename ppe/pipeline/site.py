"""The site in ``docs/*.html`` for those who only read: a front page, the executed notebooks, and the pages of ``docs/``.

A page loads nothing: no script, no style sheet, no font from anywhere; its pictures are in it.
"""

import hashlib
import html
import math
import re
from dataclasses import dataclass
from pathlib import Path

import jinja2
import nbformat

from ppe.config.params import load_study
from ppe.config.paths import SCRATCH_STUDY
from ppe.config.storage import write_whole
from ppe.pipeline.execution import BOOKS
from ppe.pipeline.rendering import (
    TEMPLATES, arrange_notebook, merge_notebook, render_markdown, render_notebook, strip_tags, write_picture,
)  # fmt: skip

MAX_BYTES = 10_000_000  # of all pages
REMOTE = re.compile(
    r"<script|<link|<iframe|@import|(?:src|srcset|poster)\s*=\s*[\"']?(?:https?:)?//|url\(\s*[\"']?(?:https?:)?//", re.IGNORECASE
)
"""What would load something from elsewhere, or run."""
FRONT_FIGURES = ("sizes", "memberships", "rocs", "scores")
"""Figures of the study for the front page, the first that exists, where the README shows none before its first section."""
ORDER = ("results", "statistics", "limits", "glossary", "responsible-use", "own-photos", "extending", "pipeline")
"""Pages of docs/ as the site lists them; others follow by name."""
WORDS_PER_MINUTE, MINUTES_PER_FIGURE = 200, 0.3


@dataclass
class Page:
    """A page of the site; ``body`` is its HTML, "" where the page of an earlier call is kept, None where there is none."""

    file: str
    title: str
    summary: str = ""
    about: str = ""
    minutes: int = 0
    body: str | None = ""
    code_hash: str = ""


def write_site(params, docs=None):
    """Write all pages, which take the place of those of an earlier call, and say how many there are.

    Parameters
    ----------
    params : ppe.config.Params. The embedded study, with its executed notebooks.
    docs : path, optional. Where the pages go; ``docs/`` if not given.

    Returns
    -------
    dict, file name -> bytes.

    Raises
    ------
    FileNotFoundError
        If a notebook was not executed. The one on over-representation belongs to another study: where that was not run here,
        its page is kept if its code is still the same, else left out.
    ValueError
        If a data set holds real faces, a notebook's code has changed since, a page would load something or holds a path of this
        machine, or the pages are more than ``MAX_BYTES``.
    """
    real = [name for name, settings in params.datasets.items() if settings.reader != "synthetic"]
    if real:
        raise ValueError(f"datasets {real} are not synthetic: their faces are not published (params.yaml: datasets, reader)")
    docs, root = Path(docs or params.root / "docs"), params.root
    executed = {book: _find_executed(params, book, kind) for book, kind in BOOKS.items()}
    known = {f"notebooks/{book}.ipynb": f"{book}.html" for book in BOOKS if executed[book][0] or (docs / f"{book}.html").is_file()}
    known |= {f"docs/{path.stem}.md": f"{path.stem}.html" for path in (root / "docs").glob("*.md")} | {"README.md": "index.html"}
    books = [_make_book(root, book, *executed[book], known, docs / f"{book}.html") for book in BOOKS]
    names = sorted({path.stem for path in (root / "docs").glob("*.md")} - set(ORDER))
    texts = [_make_text(root, name, known) for name in (*ORDER, *names) if (root / "docs" / f"{name}.md").is_file()]
    front = Page("index.html", "Contents")
    way = [None, front, *(page for page in (*books, *texts) if page.body is not None), None]
    pages = {front.file: _fill_front(params, known, {"Notebooks": books, "Pages": texts}, way[2])}
    for previous, page, following in zip(way[1:], way[2:], way[3:], strict=False):
        if page.body:
            pages[page.file] = _fill(page=page, previous=previous, next=following, after=page.body)
    _check_pages(pages, str(root.resolve()))
    for old in {path.name for path in docs.glob("*.html")} - {page.file for page in way[1:-1]}:
        (docs / old).unlink()
    for name, text in pages.items():
        with write_whole(docs / name) as partial:
            partial.write_text(text, encoding="utf-8")
    sizes = {path.name: path.stat().st_size for path in sorted(docs.glob("*.html"))}
    print(f"docs/: {len(sizes)} pages, {sum(sizes.values()) / 1e6:.1f} MB")
    return sizes


def _find_executed(params, book, kind):
    """A notebook's executed copy, of the first run (data set, experiment), and what it is about; None and "" where there is none."""
    if kind != "experiment":
        run, settings = next(iter(params.runs.items()))
        name = {"run": run, "dataset": settings.dataset, "study": params.study}[kind]
        file = params.executed_file(book, name)
        if not file.is_file():
            raise FileNotFoundError(f"executed/{file.name} is not there yet: run `make study` first")
        return file, f"{kind.replace('dataset', 'data set').capitalize()} {name}"
    studies = sorted(path.stem for path in (params.root / "studies").glob("*.yaml"))
    for study in (load_study(name, params.root) for name in studies if name != SCRATCH_STUDY):
        is_synthetic = all(settings.reader == "synthetic" for settings in study.datasets.values())
        for name in sorted(study.experiments, key=lambda name: study.experiments[name].kind != "many") if is_synthetic else ():
            file = params.root / ".studies" / study.study / "executed" / f"{book}-{name}.ipynb"
            if file.is_file():
                return file, f"Experiment {name} of the study {study.study}"
    return None, ""


def _make_book(root, book, executed, about, known, old):
    """The page of a notebook, made of its executed copy, or kept (``old``), or left out."""
    path = root / "notebooks" / f"{book}.ipynb"
    done = merge_notebook(path, executed) if executed else nbformat.read(path, as_version=4)
    prose = [cell.source for cell in done.cells if cell.cell_type == "markdown"]
    question = re.search(r"\*\*Question\.\*\*\s*(.+?)(?:\n\n|\Z)", prose[0], re.S)
    code = "\n".join(cell.source for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code")
    page = Page(f"{book}.html", prose[0].splitlines()[0].lstrip("# "), " ".join(question.group(1).split()) if question else "")
    page.code_hash = hashlib.sha256(code.encode()).hexdigest()[:16]
    body = old.read_text(encoding="utf-8") if old.is_file() else ""
    if executed:
        page.body = body = render_notebook(arrange_notebook(done), root, "notebooks", known)
    elif f'content="{page.code_hash}"' not in body:
        page.body, page.summary = None, page.summary + " (Not part of this site: its study was not run where the site was made.)"
    page.minutes = _count_minutes(" ".join(prose), body)
    page.about = f"{about} · {page.minutes} minutes to read"
    return page


def _make_text(root, name, known):
    """The page of a Markdown file of docs/."""
    body = render_markdown((root / "docs" / f"{name}.md").read_text(encoding="utf-8"), root, "docs", known)
    title, summary = (re.search(f"<{tag}[^>]*>(.*?)</{tag}>", body, re.S) for tag in ("h1", "p"))
    summary = re.split(r"(?<=[.?])\s", strip_tags(summary.group(1)))[0] if summary else ""
    minutes = _count_minutes(strip_tags(body), body)
    return Page(f"{name}.html", strip_tags(title.group(1)) if title else name, html.unescape(summary), "", minutes, body)


def _count_minutes(words, body):
    figures = re.sub(r"base64,[A-Za-z0-9+/=]+", "", body).count("<img")
    return math.ceil(len(words.split()) / WORDS_PER_MINUTE + figures * MINUTES_PER_FIGURE)


def _fill_front(params, known, contents, following):
    """The README as front page: what stands before its first section, the contents, the ways in, all other sections."""
    body = render_markdown((params.root / "README.md").read_text(encoding="utf-8"), params.root, ".", known)
    first, *sections = re.split(r"(?=<h2 )", body)
    figures = [params.results_folder() / "figures" / f"{name}.png" for name in FRONT_FIGURES]
    figures = [] if "<img" in first else [file for file in figures if file.is_file()]
    for file in figures[:1]:
        picture = write_picture(file.read_bytes(), f"The study's result: {file.stem}")
        first = first.replace("</p>", f"</p>\n<figure>{picture}</figure>", 1)
    sections.sort(key=lambda section: 'id="five-ways-in"' not in section)
    page = Page("index.html", strip_tags(re.search("<h1[^>]*>(.*?)</h1>", body).group(1)))
    return _fill(page=page, previous=None, next=following, before=first, contents=contents, after="".join(sections))


def _fill(**parts):
    """A whole page from its parts."""
    environment = jinja2.Environment(loader=jinja2.FileSystemLoader(TEMPLATES), autoescape=True, trim_blocks=True)
    text = parts.get("before", "") + parts["after"]
    headings = re.findall(r'<h([23]) id="([^"]+)">(.*?)</h\1>', text)
    headings = [(level, anchor, html.unescape(strip_tags(words))) for level, anchor, words in headings]
    style = (TEMPLATES / "style.css").read_text(encoding="utf-8")
    return environment.get_template("page.html.j2").render(**parts, headings=headings, style=style)


def _check_pages(pages, root):
    """Refuse pages that are too large, load something, or hold a path of this machine (``root``: the project's folder)."""
    total = sum(len(text.encode()) for text in pages.values())
    if total > MAX_BYTES:
        largest = max(pages, key=lambda name: len(pages[name]))
        raise ValueError(f"the pages are {total / 1e6:.1f} MB, the largest of them {largest}; at most {MAX_BYTES / 1e6:.0f} MB "
                         "are allowed: show fewer or smaller figures")
    for name, text in pages.items():
        found = REMOTE.search(re.sub(r"base64,[A-Za-z0-9+/=]+", "", text))
        if found:
            raise ValueError(f"{name} would load something from elsewhere ({found.group(0)!r}): pages hold all that they show")
        if root in text:
            raise ValueError(f"{name} holds the path of a folder of this machine: one of its outputs shows it")
