"""The site in ``docs/*.html`` for those who only read: a front page, the executed notebooks, and the pages of ``docs/``.

A page loads nothing: no script, no style sheet, no font from anywhere; its pictures are in it.
"""

import hashlib
import html
import math
import posixpath
import re
from dataclasses import dataclass, field
from functools import partial

import jinja2
import nbformat

from ppe.config.params import load_study
from ppe.config.paths import SCRATCH_STUDY
from ppe.config.storage import write_whole
from ppe.pipeline.execution import BOOKS
from ppe.pipeline.rendering import (
    TEMPLATES, arrange_notebook, merge_notebook, render_markdown, render_notebook, resolve, strip_tags, write_picture,
)  # fmt: skip

NAME = "This Person Probably Exists"
MAX_BYTES = 10_000_000  # of all pages
REMOTE = re.compile(
    r"<script|<link|<iframe|@import|(?:src|srcset|poster)\s*=\s*[\"']?(?:https?:)?//|url\(\s*[\"']?(?:https?:)?//", re.IGNORECASE
)
"""What would load something from elsewhere, or run."""
FRONT_FIGURES = ("sizes", "memberships", "rocs", "scores")
"""Figures of the study for the front page, the first that exists, where the README's own does not."""
PAGES = ("results", "statistics", "limits", "glossary", "responsible-use", "own-photos", "extending", "pipeline", "beyond-one-machine")
"""Order of the pages of docs/; others follow by name."""
WORDS_A_MINUTE, MINUTES_A_FIGURE = 200, 0.3
HEADING = re.compile(r'<h([23]) id="([^"]+)">(.*?)</h\1>')


@dataclass
class Page:
    """One page: ``source`` is its path from the root, ``body`` its HTML, None where it cannot be made."""

    file: str
    source: str
    title: str = ""
    summary: str = ""
    about: str = ""
    body: str | None = ""
    minutes: int = 0
    code_hash: str = ""
    is_front: bool = False
    executed: object = field(default=None, repr=False)


def write_site(params, docs=None):
    """Write all pages; pages of an earlier call are replaced. Say how many there are.

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
        If a notebook was not executed. That on over-representation belongs to another study: its page is kept where it is of
        the same code, else left out.
    ValueError
        If a data set holds real faces, a notebook's code has changed since, a page would load something or holds a path of this
        machine, or the pages are more than ``MAX_BYTES``.
    """
    real = [name for name, settings in params.datasets.items() if settings.reader != "synthetic"]
    if real:
        raise ValueError(f"datasets {real} are not synthetic: their faces are not published (params.yaml: datasets, reader)")
    docs = docs or params.root / "docs"
    books, texts = _list_books(params, docs), _list_texts(params.root)
    files = {page.source: page.file for page in [*books, *texts] if page.body is not None} | {"README.md": "index.html"}
    for page in (page for page in books if page.executed):
        _render_book(page, params.root, files)
    for page in texts:
        _render_text(page, params.root, files)
    pages = {"index.html": _fill_front(params, files, books, texts)}
    steps = [Page("index.html", "README.md", "Contents"), *(page for page in [*books, *texts] if page.body is not None), None]
    for previous, page, following in zip(steps, steps[1:], steps[2:]):
        if page.body:
            pages[page.file] = _fill(page, previous, following, after=page.body)
    _check_pages(pages, str(params.root.resolve()))
    kept = {page.file for page in books if page.body == ""}
    for old in {path for path in docs.glob("*.html") if path.name not in {*pages, *kept}}:
        old.unlink()
    for name, text in pages.items():
        with write_whole(docs / name) as partial_file:
            partial_file.write_text(text, encoding="utf-8")
    sizes = {path.name: path.stat().st_size for path in sorted(docs.glob("*.html"))}
    print(f"{docs.name}/: {len(sizes)} pages, {sum(sizes.values()) / 1e6:.1f} MB")
    return sizes
