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
from ppe.config.paths import COPIES, SCRATCH_STUDY
from ppe.config.storage import write_whole
from ppe.pipeline.execution import BOOKS
from ppe.pipeline.rendering import TEMPLATES, merge_notebook, render_markdown, render_notebook, strip_tags, write_picture

NAME = "This Person Probably Exists"
MAX_BYTES = 10_000_000  # of all pages
REMOTE = re.compile(
    r"<script|<link|<iframe|@import|(?:src|srcset|poster)\s*=\s*[\"']?(?:https?:)?//|url\(\s*[\"']?(?:https?:)?//", re.IGNORECASE
)
"""What would load something from elsewhere, or run."""
FRONT_FIGURES = ("sizes", "rocs", "evidence")
"""Figures of the study for the front page, the first that exists, where the README shows none before its first section."""
ORDER = (
    *("results", "statistics", "attacks", "before-a-release", "audit", "limits", "glossary", "responsible-use", "own-photos"),
    *("extending", "pipeline"),
)
"""Pages of docs/ as the site lists them; others follow by name."""
OF_OTHER_STUDIES = {"experiment": "experiments", "tradeoff": "tradeoffs"}
"""What the embedded study does not have -> the section of params that has it in other studies."""
KEPT = ("audit-report.html",)
"""Pages that another command wrote: the report of an audit (docs/audit.md)."""
WORDS_PER_MINUTE, MINUTES_PER_FIGURE = 200, 0.3
WAYS_IN = re.compile(r'<h2 id="[a-z]+-ways-in"')
"""The section of the README that comes first on the front page, however many ways there are."""
HEADING = re.compile(r'<h([23]) id="([^"]+)">(.*?)</h\1>')


@dataclass
class Page:
    """A page of the site, made of ``source`` (POSIX, from the project's root)."""

    source: str
    title: str = ""
    summary: str = ""
    about: str = ""
    executed: Path | None = None
    code_hash: str = ""
    body: str = ""
    """HTML between the head and the foot."""
    kept: str = ""
    """The whole page of an earlier call, where it stays."""
    minutes: int = 0

    @property
    def file(self):
        return "index.html" if self.source == "README.md" else f"{Path(self.source).stem}.html"

    @property
    def is_left_out(self):
        return self.source.endswith(".ipynb") and not self.executed and not self.kept


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
        If a notebook was not executed, and has no page whose code is still the same. Those on over-representation and on
        defences belong to other studies: where these were not run here either, they are left out.
    ValueError
        If a data set holds real faces, a notebook's code has changed since, a page would load something or holds a path of this
        machine, or the pages are more than ``MAX_BYTES``.
    """
    real = [name for name, settings in params.datasets.items() if settings.reader != "synthetic"]
    if real:
        raise ValueError(f"datasets {real} are not synthetic: their faces are not published (params.yaml: datasets, reader)")
    docs = Path(docs or params.docs_folder())
    books = [_read_book(params, book, kind, docs / f"{book}.html") for book, kind in BOOKS.items()]
    names = {path.stem for path in params.docs_folder().glob("*.md")}
    texts = [Page(f"docs/{name}.md") for name in (*(name for name in ORDER if name in names), *sorted(names - {*ORDER}))]
    front = Page("README.md", "Contents")
    way = [front, *(page for page in (*books, *texts) if not page.is_left_out)]
    files = {page.source: page.file for page in way}
    for page in way:
        _render(page, params.root, files)
    _add_figure(front, params.results_folder() / "figures")
    pages = {}
    for previous, page, following in zip([None, *way], way, [*way[1:], None], strict=False):
        contents = {"Notebooks": books, "Pages": texts} if page is front else {}
        pages[page.file] = page.kept or _fill(page, contents, previous=previous, next=following)
    kept = {name: (docs / name).read_text(encoding="utf-8") for name in KEPT if (docs / name).is_file()}
    _check_pages(pages | kept, str(params.root.resolve()))
    for old in {path.name for path in docs.glob("*.html")} - set(pages | kept):
        (docs / old).unlink()
    for name, text in pages.items():
        with write_whole(docs / name) as partial:
            partial.write_text(text, encoding="utf-8")
    sizes = {name: len(text.encode()) for name, text in pages.items()}
    print(f"docs/: {len(sizes)} pages, {sum(sizes.values()) / 1e6:.1f} MB")
    old_ones = [page.file for page in way if page.kept]
    if old_ones:
        print(f"Not executed here, so these pages stay as they were: {', '.join(old_ones)}")
    return sizes


def _read_book(params, book, kind, old):
    """A notebook's page, not yet rendered: what it asks, its executed copy, or else its page of an earlier call (``old``)."""
    cells = nbformat.read(params.root / "notebooks" / f"{book}.ipynb", as_version=4).cells
    question = re.search(r"\*\*Question\.\*\*\s*(.+?)(?:\n\n|\Z)", cells[0].source, re.S)
    page = Page(f"notebooks/{book}.ipynb", cells[0].source.splitlines()[0].lstrip("# "))
    page.summary = " ".join(question.group(1).split()) if question else ""
    page.minutes = _count_minutes("\n".join(cell.source for cell in cells if cell.cell_type == "markdown"))
    page.executed, page.about = _find_executed(params, book, kind)
    code = "\n".join(cell.source for cell in cells if cell.cell_type == "code")
    page.code_hash = hashlib.sha256(code.encode()).hexdigest()[:16]
    text = old.read_text(encoding="utf-8") if old.is_file() and not page.executed else ""
    page.kept = text if f'content="{page.code_hash}"' in text else ""
    if page.is_left_out and kind not in OF_OTHER_STUDIES:
        raise FileNotFoundError(f"{book} was not executed here yet: run `make study` first")
    if page.is_left_out:
        page.summary += " (Not part of this site: its study was not run where the site was made.)"
    return page


def _find_executed(params, book, kind):
    """A notebook's executed copy, of the first run or data set, and what it is about; None and "" where there is none."""
    if kind not in OF_OTHER_STUDIES:
        run, settings = next(iter(params.runs.items()))
        name = {"run": run, "dataset": settings.dataset, "study": params.study}[kind]
        file = params.executed_file(book, name)
        return file if file.is_file() else None, f"{kind.replace('dataset', 'data set').capitalize()} {name}"
    studies = sorted(path.stem for path in (params.root / "studies").glob("*.yaml"))
    for study in (load_study(name, params.root) for name in studies if name != SCRATCH_STUDY):
        is_synthetic = all(settings.reader == "synthetic" for settings in study.datasets.values())
        lines = getattr(study, OF_OTHER_STUDIES[kind]) if is_synthetic else {}
        for name in sorted(lines, key=lambda name, lines=lines: _rank_line(lines[name])):
            file = params.root / COPIES / study.study / "executed" / f"{book}-{name}.ipynb"
            if file.is_file():
                return file, f"{kind.capitalize()} {name} of the study {study.study}"
    return None, ""


def _rank_line(line):
    """An experiment with many photos of one identity a generator comes first: claim 4 is judged on it. Lists compare by place."""
    return [getattr(line, part, best) != best for part, best in (("kind", "many"), ("design", "single"))]


def _render(page, root, files):
    """Fill in a page's body, and what the front page says of it."""
    file = root / page.source
    if page.executed:
        page.body = render_notebook(merge_notebook(file, page.executed), root, "notebooks", files)
    elif not page.kept:
        page.body = render_markdown(file.read_text(encoding="utf-8"), root, file.parent.relative_to(root).as_posix(), files)
        top = page.body.partition("<h2 ")[0]
        title, summary = (re.search(f"<{tag}[^>]*>(.*?)</{tag}>", top, re.S) for tag in ("h1", "p"))
        page.title = page.title or (strip_tags(title.group(1)) if title else file.stem)
        page.summary = re.split(r"(?<=[.?])\s+(?=[A-Z])", strip_tags(summary.group(1)))[0].rstrip(":") if summary else ""
        page.minutes = _count_minutes(strip_tags(page.body))
    figures = re.sub(r"base64,[A-Za-z0-9+/=]+", "", page.body or page.kept).count("<img")
    page.minutes = math.ceil(page.minutes + figures * MINUTES_PER_FIGURE)
    page.about = page.about and f"{page.about} · {page.minutes} minutes to read"


def _count_minutes(words):
    return len(words.split()) / WORDS_PER_MINUTE


def _add_figure(front, folder):
    """Show the study's result below the first sentence, where the README shows no figure there."""
    first = front.body.partition("<h2 ")[0]
    for file in (folder / f"{name}.png" for name in FRONT_FIGURES):
        if "<img" not in first and file.is_file():
            picture = f"<figure>{write_picture(file.read_bytes(), f'Result of the study: {file.stem}')}</figure>"
            front.body = front.body.replace("</p>", f"</p>\n{picture}", 1)
            return


def _fill(page, contents, **neighbours):
    """A whole page; the front page has the contents of the site, and the ways in, before all other sections."""
    lead = r".*?(?=<h2 |\Z)" if contents else r'.*?</h1>\s*(?:<p class="question">.*?</p>)?'
    first = re.match(lead, page.body, re.S).group()
    sections = re.split("(?=<h2 )", page.body[len(first):])
    rest = "".join(sorted(sections, key=lambda section: bool(contents) and not WAYS_IN.match(section)))
    headings = [(level, anchor, html.unescape(strip_tags(words))) for level, anchor, words in HEADING.findall(rest)]
    title = f"{page.title} – {NAME}" if not contents else NAME
    environment = jinja2.Environment(loader=jinja2.FileSystemLoader(TEMPLATES), autoescape=True, trim_blocks=True)
    parts = {"page": page, "contents": contents, "first": first, "rest": rest, "headings": headings, "title": title, "name": NAME}
    style = (TEMPLATES / "style.css").read_text(encoding="utf-8")
    return environment.get_template("page.html.j2").render(style=style, **parts, **neighbours)


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
