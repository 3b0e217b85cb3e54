"""Executed notebooks and Markdown pages as HTML fragments: prose of today, outputs of the last run, code behind a click."""

import ast
import base64
import io
import posixpath
import re
from collections import Counter
from html import escape
from pathlib import Path

import mistune
import nbformat
from nbconvert import HTMLExporter
from nbconvert.filters.highlight import Highlight2HTML
from PIL import Image

TEMPLATES = Path(__file__).parent / "templates"
PICTURE_QUALITY = 85  # of WebP, where lossless is larger
CAPTION_WORDS = 70  # a longer paragraph below a picture is text
WIDE = {"pixels": 700, "aspect": 1.5}  # a picture of at least this width, and width / height, scrolls on a phone, else it shrinks
SETTINGS = re.compile(r"^(import|from) |\b(load_params|tabulate_params)\(", re.M)
"""What makes a code cell one of settings, as any tag does: its tables are folded with its code."""
SETTINGS_FOLD = "Settings: table and code"
RUN_IN = re.compile(r"(?:^|(?<=\n\n))\*\*(?!Question|Next)([^*\n]+?)(?:\.|(?<=\?))\*\*[ \n](?=\S)")
"""A paragraph that begins with a bold sentence has a heading in it."""


def merge_notebook(path, executed):
    """A notebook with the outputs of its executed copy, matched by cell id; its prose may have been mended since.

    Raises
    ------
    ValueError
        If a cell's code differs, a cell is missing, or one ended in an error.
    """
    book, done = (nbformat.read(file, as_version=4) for file in (path, executed))
    known = {cell["id"]: cell for cell in done.cells if cell.cell_type == "code"}
    injected = [cell for cell in done.cells if "injected-parameters" in cell.metadata.get("tags", [])]
    allowed = {cell["id"] for cell in [*book.cells, *injected]}
    cells = []
    for cell in book.cells:
        cells.append(cell)
        if cell.cell_type == "code":
            made = known.get(cell["id"])
            if made is None or made.source != cell.source or set(known) - allowed:
                raise ValueError(f"{executed.name} was made by other code than {path.name} has (cell {cell['id']}): "
                                 "run `dvc repro` first")
            if any(output.output_type == "error" for output in made.outputs):
                raise ValueError(f"{executed.name} ended in an error (cell {cell['id']}): run `dvc repro` first")
            cell.outputs = [output for output in made.outputs if _is_shown(output)]
            cells += injected if "parameters" in cell.metadata.get("tags", []) else []
    book.cells = cells
    return book


def render_notebook(book, root, folder="notebooks", files=None):
    """A notebook's cells as an HTML fragment.

    Parameters
    ----------
    book : NotebookNode, as ``merge_notebook`` makes it; it is changed.
    root : path. The project.
    folder : str. Where the notebook lies in it: its links and pictures are named from there.
    files : dict. File of the project -> page of the site, for links.
    """
    markdown = mistune.create_markdown(renderer=Markdown(root, folder, files or {}), plugins=["table", "strikethrough"])
    exporter = HTMLExporter(template_name="site", extra_template_basedirs=[str(TEMPLATES)], filters={"prose": markdown})
    exporter.exclude_output_prompt = exporter.exclude_input_prompt = True
    return exporter.from_notebook_node(_arrange(book))[0]


def render_markdown(text, root, folder, files):
    """A Markdown page as an HTML fragment, by the same means."""
    cell = nbformat.v4.new_markdown_cell(re.sub(r"<!--.*?-->\n?", "", text, flags=re.S), id="text")
    return render_notebook(nbformat.v4.new_notebook(cells=[cell]), root, folder, files)


class Markdown(mistune.HTMLRenderer):
    """GitHub's Markdown as HTML: links that lead to pages of the site, pictures in the page, headings with names."""

    def __init__(self, root, folder, files):
        super().__init__(escape=False)
        self._root, self._folder, self._files, self._anchors = Path(root), folder, files, Counter()

    def heading(self, text, level, **attrs):
        anchor = re.sub(r"[^\w\- ]", "", strip_tags(text).lower()).strip().replace(" ", "-")
        self._anchors[anchor] += 1
        anchor += f"-{self._anchors[anchor] - 1}" if self._anchors[anchor] > 1 else ""
        return f'<h{level} id="{anchor}">{text}</h{level}>\n'

    def paragraph(self, text):
        if text.startswith("<img") and text.endswith(">"):
            return f'<figure><div class="box" tabindex="0">{text}</div></figure>\n'
        if not text:  # of a picture that is not there
            return ""
        question = text.removeprefix("<strong>Question.</strong>")
        kind = "question" if question != text else "caption" if re.fullmatch("<em>[^<]*(?!</em>).*</em>", text, re.S) else ""
        return f'<p class="{kind}">{question.strip()}</p>\n' if kind else f"<p>{text}</p>\n"

    def link(self, text, url, title=None):
        path, mark, anchor = url.partition("#")
        if path and not re.match("[a-z]+:|/", path):  # of a file: its page, or where it lies as seen from docs/
            file = posixpath.normpath(posixpath.join(self._folder, path))
            url = (self._files.get(file) or posixpath.relpath(file, "docs")) + mark + anchor
            text = Path(text).stem.replace("-", " ") if text.endswith(".md") and file in self._files else text
        return super().link(text, url, title)

    def codespan(self, text):
        page = self._find_page(text)
        return f'<a href="{page}">{super().codespan(text)}</a>' if page else super().codespan(text)

    def image(self, text, url, title=None):
        file = self._root / self._folder / url
        return write_picture(file.read_bytes(), strip_tags(text)) if file.is_file() else ""

    def block_code(self, code, info=None):
        steps = [word.strip() for word in code.split("→")]
        if len(steps) > 2:  # the pipeline in words: a way through the notebooks
            return f'<p class="strip">{" → ".join(map(self._link_step, steps))}</p>\n'
        return Highlight2HTML(pygments_lexer="text")(code, info) if info else f"<pre><code>{escape(code)}</code></pre>\n"

    def table(self, text):
        table = f'<div class="box" tabindex="0"><table>\n{text}</table></div>\n'
        is_files = strip_tags(text).split()[:1] == ["in"]
        return f'<details class="files"><summary>Files: input and output</summary>{table}</details>\n' if is_files else table

    def _find_page(self, name):
        files = [name, f"notebooks/{name}", f"notebooks/{name}.ipynb"]
        return next((self._files[file] for file in files if file in self._files), None)

    def _link_step(self, step):
        name = step.strip("[]")
        pages = [page for file, page in self._files.items() if re.fullmatch(rf"notebooks/\d+_{re.escape(name)}\.ipynb", file)]
        return f"<strong>{name}</strong>" if name != step else f'<a href="{pages[0]}">{name}</a>' if pages else name


def strip_tags(text):
    """HTML as words."""
    return re.sub("<[^>]+>", "", text)


def write_picture(content, alt):
    """A picture (bytes) as an ``<img>`` that holds it, as WebP, lossless or not, whichever is smaller."""
    image = Image.open(io.BytesIO(content))
    image = image.convert("RGBA" if image.has_transparency_data else "RGB")
    sizes = []
    for options in ({"lossless": True}, {"quality": PICTURE_QUALITY}):
        buffer = io.BytesIO()
        image.save(buffer, "WEBP", method=6, **options)
        sizes.append(buffer.getvalue())
    text = base64.b64encode(min(sizes, key=len)).decode()
    is_wide = image.width >= WIDE["pixels"] and image.width >= WIDE["aspect"] * image.height
    wide = ' class="wide"' if is_wide else ""
    alt = escape(" ".join(alt.split()))
    return f'<img{wide} alt="{alt}" width="{image.width}" height="{image.height}" src="data:image/webp;base64,{text}">'


def _is_shown(output):
    """Not progress bars and warnings, and not what only a running kernel can draw."""
    is_widget = "application/vnd.jupyter.widget-view+json" in output.get("data", {})
    return not is_widget and not (output.output_type == "stream" and output.name == "stderr")


def _arrange(book):
    """Change a notebook's cells for a reader: settings in one fold, captions below pictures, bold beginnings as headings."""
    has_sections = any(re.search("^## ", cell.source, re.M) for cell in book.cells if cell.cell_type == "markdown")
    heading = ("### " if has_sections else "## ") + r"\1\n\n"
    cells = []
    for cell in book.cells:
        if cell.cell_type == "code":
            is_settings = bool(cell.metadata.get("tags") or SETTINGS.search(cell.source))
            if cells and is_settings and cells[-1].metadata.get("summary") == SETTINGS_FOLD:
                cells[-1].source += "\n\n" + cell.source
            else:
                cells.append(nbformat.v4.new_code_cell(cell.source, id=cell["id"]))
                cells[-1].metadata |= {"summary": SETTINGS_FOLD if is_settings else "Code", "folded": []}
            _place_outputs(cells, cell.outputs, is_settings)
        elif cell.cell_type == "markdown":
            text = cell.source
            if cells and cells[-1].cell_type == "code":
                text = _take_caption(cells[-1].outputs, text)
            cell.source = RUN_IN.sub(heading, text)
            cells.append(cell)
    book.cells = cells
    return book


def _place_outputs(cells, outputs, is_settings):
    """Add outputs to the last cell: pictures and results below it, tables of settings into its fold."""
    cell = cells[-1]
    for output in outputs:
        data = output.get("data", {})
        if "<script" in data.get("text/html", ""):
            del data["text/html"]
        html = data.get("text/html", "")
        if "image/png" in data:
            alt = _describe(cells, sum(shown.metadata.get("is_picture", False) for shown in cell.outputs))
            data["text/html"] = write_picture(base64.b64decode(data.pop("image/png")), alt)
            output.metadata["is_picture"] = True
        elif html:
            html = re.sub(r"<style scoped>.*?</style>\s*", "", html, flags=re.S).replace(' border="1"', "")
            data["text/html"] = html = re.sub(r"<td>([^<]{40,})</td>", r'<td class="long">\1</td>', html)
        elif re.fullmatch(r"(['\"]).*\1", data.get("text/plain", ""), re.S):
            data["text/plain"] = ast.literal_eval(data["text/plain"])
            output.metadata["is_sentence"] = True
        if is_settings and html:
            cell.metadata.folded.append(html)
        else:
            cell.outputs.append(output)


def _describe(cells, number):
    """What a picture of the last cell shows, in words: its title, as the code has it, else its plot and the sentence before."""
    code = cells[-1].source
    titles = re.findall(r'plot_.*?"(?:\{[\w.]+\}: )?([A-Za-z][^"{}]* [^"{}]*)"', code)
    plots = re.findall(r"plot_(\w+)\(", code) or ["figure"]
    prose = [cell.source for cell in cells if cell.cell_type == "markdown"][-1:]
    sentence = re.split(r"(?<=[.?]) ", " ".join(prose).split("\n\n")[-1].strip())[-1]
    sentence = strip_tags(mistune.html(sentence)).strip().rstrip(":")
    return titles[number] if number < len(titles) else f"{plots[min(number, len(plots) - 1)]}: {sentence}".replace("_", " ")


def _take_caption(outputs, text):
    """Give the paragraph below a picture to the picture; return the rest."""
    first, _, rest = text.partition("\n\n")
    is_caption = not re.match(r"[#*|`-]", first) and not first.endswith(":") and len(first.split()) <= CAPTION_WORDS
    if not outputs or not outputs[-1].get("metadata", {}).get("is_picture") or not is_caption:
        return text
    outputs[-1].metadata["caption"] = first
    return rest

