"""Executed notebooks as HTML pages for those who only read: prose of the notebooks as they are, outputs of their last run.

A page loads nothing: no script, no style sheet, no font from anywhere; its pictures are in it.
"""

import base64
import html
import io
import os
import re
from pathlib import Path

from PIL import Image

MAX_BYTES = 10_000_000  # of all pages
PICTURE_QUALITY = 85  # of WebP, where lossless is larger
REMOTE = re.compile(
    r"<script|<link|<iframe|@import|(?:src|srcset|poster)\s*=\s*[\"']?(?:https?:)?//|url\(\s*[\"']?(?:https?:)?//", re.IGNORECASE
)
"""What would load something from elsewhere, or run."""
STYLE = """
body {max-width: 62rem; margin: 2rem auto; padding: 0 1rem; font: 16px/1.5 system-ui, sans-serif; color: #222}
pre, code {font: 13px/1.45 ui-monospace, monospace} pre {background: #f6f6f6; padding: .6rem; overflow-x: auto; margin: .4rem 0}
.jp-RenderedText pre, .output_text pre, .output_stream pre {background: none} img {max-width: 100%}
table {border-collapse: collapse; font-size: 13px; display: block; overflow-x: auto}
td, th {padding: .2rem .6rem; text-align: left}
.dataframe td, .dataframe th {text-align: right}
tr:nth-child(even) {background: #f6f6f6} .prompt, .anchor-link {display: none} nav {font-size: 14px}
"""


def write_site(notebooks, executed, docs, names, left_out=()):
    """Write a page for each notebook that was executed, and ``index.html``; pages of an earlier call are replaced.

    Parameters
    ----------
    notebooks, executed, docs : path. Folders: prose and code, outputs, where the pages go.
    names : dict. What stands behind the notebook's name in ``executed``: a run, a data set; a notebook of the whole study has
        nothing there.
    left_out : sequence of str. Names of notebooks that the study has no use for.

    Returns
    -------
    dict, file name -> bytes.

    Raises
    ------
    FileNotFoundError
        If a notebook was not executed.
    ValueError
        If its code has changed since, a page would load something, or the pages are more than ``MAX_BYTES``.
    """
    pages, titles = {}, []
    for path in sorted(Path(notebooks).glob("[0-9]*_*.ipynb"), key=lambda path: int(path.stem.split("_")[0])):
        if path.stem in left_out:
            continue
        book = merge_notebook(path, _find_executed(path.stem, Path(executed), names))
        heading, question = _read_heading(book)
        titles.append((f"{path.stem}.html", heading, question))
        pages[f"{path.stem}.html"] = _wrap(heading, '<nav><a href="index.html">all pages</a></nav>' + render_notebook(book))
    title = "This Person Probably Exists: the embedded study, as it was run"
    index = [f"<h1>{title}</h1>", "<p>Every face here is drawn or generated; nobody is photographed.</p>"]
    for name, *words in titles:
        heading, question = map(html.escape, words)
        index.append(f'<p><a href="{name}">{heading}</a><br>{question}</p>')
    pages["index.html"] = _wrap(title, "\n".join(index))
    _check_pages(pages, str(Path(notebooks).resolve().parent))
    docs = Path(docs)
    docs.mkdir(parents=True, exist_ok=True)
    for old in set(docs.glob("*.html")) - {docs / name for name in pages}:
        old.unlink()
    for name, text in pages.items():
        (docs / name).with_suffix(".partial").write_text(text, encoding="utf-8")
        os.replace((docs / name).with_suffix(".partial"), docs / name)
    return {name: len(text.encode()) for name, text in pages.items()}


def merge_notebook(path, executed):
    """A notebook with the outputs of its executed copy, matched by cell id; its prose may have been mended since.

    Raises
    ------
    ValueError
        If a cell's code differs, a cell is missing, or one ended in an error.
    """
    import nbformat

    book, done = (nbformat.read(file, as_version=4) for file in (path, executed))
    known = {cell["id"]: cell for cell in done.cells if cell.cell_type == "code"}
    injected = [cell for cell in done.cells if "injected-parameters" in cell.metadata.get("tags", [])]
    allowed = {cell["id"] for cell in book.cells if cell.cell_type == "code"} | {cell["id"] for cell in injected}
    cells = []
    for cell in book.cells:
        if cell.cell_type == "code":
            made = known.get(cell["id"])
            if made is None or made.source != cell.source or set(known) - allowed:
                raise ValueError(f"{executed.name} was made by other code than {path.name} has (cell {cell['id']}): "
                                 "run `dvc repro` first")
            if any(output.output_type == "error" for output in made.outputs):
                raise ValueError(f"{executed.name} ended in an error (cell {cell['id']}): run `dvc repro` first")
            cell.outputs = [_shrink_output(output) for output in made.outputs if _is_shown(output)]
        cells.append(cell)
        if "parameters" in cell.metadata.get("tags", []):
            cells += injected
    book.cells = cells
    return book


def render_notebook(book):
    """A notebook's cells as an HTML fragment."""
    from nbconvert import HTMLExporter

    exporter = HTMLExporter(template_name="basic", exclude_input_prompt=True, exclude_output_prompt=True)
    return exporter.from_notebook_node(book)[0]


def shrink_picture(png):
    """A PNG (bytes) as WebP (bytes), lossless or not, whichever is smaller."""
    image = Image.open(io.BytesIO(png))
    image = image.convert("RGBA" if image.has_transparency_data else "RGB")
    sizes = []
    for options in ({"lossless": True}, {"quality": PICTURE_QUALITY}):
        buffer = io.BytesIO()
        image.save(buffer, "WEBP", method=6, **options)
        sizes.append(buffer.getvalue())
    return min(sizes, key=len)


def _is_shown(output):
    """Not progress bars and warnings, and not what only a running kernel can draw."""
    is_widget = "application/vnd.jupyter.widget-view+json" in output.get("data", {})
    return not is_widget and not (output.output_type == "stream" and output.name == "stderr")


def _shrink_output(output):
    """An output with its picture as WebP, and without HTML that would run a script."""
    data = output.get("data", {})
    if "image/png" in data:
        picture = base64.b64encode(shrink_picture(base64.b64decode(data.pop("image/png")))).decode()
        data["text/html"] = f'<img alt="figure" src="data:image/webp;base64,{picture}">'
    elif "<script" in data.get("text/html", ""):
        del data["text/html"]
    return output


def _find_executed(stem, executed, names):
    for end in (*(f"-{name}" for name in names.values()), ""):
        if (executed / f"{stem}{end}.ipynb").is_file():
            return executed / f"{stem}{end}.ipynb"
    raise FileNotFoundError(f"executed/ holds no {stem}.ipynb of {list(names.values())}: run `make study` first")


def _read_heading(book):
    """The first line of the first cell, and its question."""
    text = book.cells[0].source
    question = re.search(r"\*\*Question\.\*\*\s*(.+?)(?:\n\n|\Z)", text, re.S)
    return text.splitlines()[0].lstrip("# "), " ".join(question.group(1).split()) if question else ""


def _wrap(title, body):
    from pygments.formatters import HtmlFormatter

    style = STYLE + HtmlFormatter(style="default").get_style_defs(".highlight")
    head = f'<meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>{html.escape(title)}</title>'
    return f'<!doctype html>\n<html lang="en"><head>{head}\n<style>{style}</style></head>\n<body>\n{body}\n</body></html>\n'


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
