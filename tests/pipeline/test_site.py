"""A site of a small project: prose as it is now, outputs as they were, code behind a click, and nothing that loads or runs."""

import base64
import io
import re
import shutil

import nbformat
import numpy as np
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output
from PIL import Image

from ppe.config import load_params
from ppe.config.params import load_study
from ppe.pipeline import site
from ppe.pipeline.execution import BOOKS
from ppe.pipeline.site import OF_OTHER_STUDIES

FIRST = """# 1 · Look

**Question.** What is
seen here?

```
[faces] → embed → claims
```

| in | out |
|---|---|
| a | b |"""
README = """# A study

**One sentence.**

- A first result.

## Quick start

See [the commands](docs/pipeline.md#words).

## Five ways in

Read `9_claims.ipynb`, or the [licence](LICENSE).
"""
PAGE = "# Commands\n\nWhat can be run. A second sentence.\n\n## Words\n\n[All](../README.md) | `1_faces`\n\n| a |\n|---|\n| b |\n"


def draw_picture(side=64):
    buffer = io.BytesIO()
    noise = np.random.default_rng(0).integers(0, 255, (side, side, 3), dtype=np.uint8)
    Image.fromarray(noise).save(buffer, "PNG")
    return buffer.getvalue()


def make_book(outputs=(), prose=FIRST, code="1 + 1", is_executed=True, below=""):
    cells = [new_markdown_cell(prose, id="m"), new_code_cell('run = "tiny"', id="p", metadata={"tags": ["parameters"]})]
    if is_executed:
        cells.append(new_code_cell('run = "one"', id="i", metadata={"tags": ["injected-parameters"]}))
    table = new_output("execute_result", {"text/html": "<table><td>a setting</td></table>"})
    cells.append(new_code_cell("import os\ntabulate_params(run)", id="s", outputs=[table] if is_executed else []))
    cells += [new_markdown_cell("Words before.", id="b"), new_code_cell(code, id="c", outputs=list(outputs))]
    return new_notebook(cells=[*cells, *([new_markdown_cell(below, id="d")] if below else [])])


@pytest.fixture
def folder(root, tmp_path):
    """A project of nine small notebooks that were executed, but for that of another study."""
    for name in ("notebooks", "executed", "docs", "studies"):
        (tmp_path / name).mkdir()
    for name in ("params.yaml", "studies/embedded-overrepresentation.yaml"):
        shutil.copy(root / name, tmp_path / name)
    (tmp_path / "README.md").write_text(README)
    (tmp_path / "docs" / "pipeline.md").write_text(PAGE)
    params = load_params(root=tmp_path)
    run, settings = next(iter(params.runs.items()))
    for book, kind in BOOKS.items():
        nbformat.write(make_book(is_executed=False), tmp_path / "notebooks" / f"{book}.ipynb")
        if kind not in OF_OTHER_STUDIES:
            name = {"run": run, "dataset": settings.dataset, "study": params.study}[kind]
            nbformat.write(make_book(), params.executed_file(book, name))
    return tmp_path


@pytest.fixture
def write(folder):
    """A function that writes the site, after one notebook and its executed copy were replaced: file name -> text."""

    def write(executed=None, book=None):
        if executed:
            nbformat.write(book or make_book(is_executed=False), folder / "notebooks" / "1_faces.ipynb")
            nbformat.write(executed, folder / "executed" / "1_faces-synthetic.ipynb")
        sizes = site.write_site(load_params(root=folder))
        assert sizes == {path.name: path.stat().st_size for path in (folder / "docs").glob("*.html")}
        return {name: (folder / "docs" / name).read_text(encoding="utf-8") for name in sizes}

    return write


def strip_folds(page):
    """What a reader sees who opens no fold."""
    return re.sub("<details.*?</details>|<style>.*?</style>", "", page, flags=re.S)


def test_prose_is_todays_and_outputs_are_the_runs(write):
    outputs = [new_output("execute_result", {"text/plain": text}) for text in ("forty-two", "'9 < 10'")]
    page = write(make_book(outputs, prose="an old sentence"))["1_faces.html"]
    assert "forty-two" in page and "seen here?" in page and "old sentence" not in page
    assert '<p class="said">9 &lt; 10</p>' in page, "a sentence is shown as one"


def test_parameters_imports_settings_and_code_are_folded(write):
    page = write(make_book([new_output("execute_result", {"text/plain": "forty-two"})]))["1_faces.html"]
    shown = strip_folds(page)
    for word in ("tiny", "one", "import", "a setting", "1</span> <span", "<th>in</th>"):
        assert word in page.replace("&quot;", "") and word not in shown, word
    assert "forty-two" in shown and page.count("<summary>Settings") == 1, "one fold for all of them"


def test_a_picture_stays_shrinks_and_has_words(write):
    picture = draw_picture()
    output = new_output("display_data", {"image/png": base64.b64encode(picture).decode()})
    options = {"code": 'plot_faces(faces, title="Ten faces")', "below": "All are round.\n\n**The next.** More words."}
    page = write(make_book([output], **options), make_book(is_executed=False, **options))["1_faces.html"]
    found = base64.b64decode(page.split("data:image/webp;base64,")[1].split('"')[0])
    assert len(found) < len(picture) and Image.open(io.BytesIO(found)).size == (64, 64)
    assert 'alt="Ten faces"' in page and "<figcaption><p>All are round.</p>" in page
    assert '<h2 id="the-next">The next</h2>' in page and '<a href="#the-next">The next</a>' in page


def test_progress_widgets_and_scripts_are_left_out(write):
    outputs = [
        new_output("stream", name="stderr", text="10% done"), new_output("stream", name="stdout", text="said"),
        new_output("display_data", {"application/vnd.jupyter.widget-view+json": {"model_id": "x"}, "text/plain": "bar"}),
        new_output("execute_result", {"text/html": "<script>run()</script>", "text/plain": "plain"}),
    ]  # fmt: skip
    page = write(make_book(outputs))["1_faces.html"]
    assert "said" in page and "plain" in page
    assert not any(word in page for word in ("10% done", "bar</pre>", "<script", "http"))


def test_the_front_page_leads_everywhere(write, folder):
    (folder / "results" / "embedded" / "figures").mkdir(parents=True)
    (folder / "results" / "embedded" / "figures" / "rocs.png").write_bytes(draw_picture())
    written = write()
    front, page = written["index.html"], written["pipeline.html"]
    assert front.index("One sentence") < front.index("<img") < front.index("A first result")
    assert front.index("What is seen here?") < front.index('id="five-ways-in"') < front.index('id="quick-start"')
    assert '<span class="minutes">1 min</span>' in front and "What can be run.</li>" in front
    assert 'href="pipeline.html#words"' in front and 'href="../LICENSE"' in front and 'href="9_claims.html"' in front
    assert 'href="index.html">All' in page and '<a href="1_faces.html"><code>1_faces</code></a>' in page and 'id="words"' in page
    assert '<a href="2_embed.html">embed</a>' in written["1_faces.html"] and "<strong>faces</strong>" in written["1_faces.html"]
    assert '<a rel="prev" href="7_sensitivity.html">' in written["9_claims.html"], "8 is not there"
    for text in written.values():
        for name in re.findall(r'href="([\w.-]+\.html)', text):
            assert name in written


def test_the_notebook_of_another_study_is_shown_kept_or_left_out(write, folder):
    written = write()
    assert "8_overrepresentation.html" not in written and "Not part of this site" in written["index.html"]
    executed = folder / ".studies" / "embedded-overrepresentation" / "executed"
    executed.mkdir(parents=True)
    nbformat.write(make_book(), executed / "8_overrepresentation-many.ipynb")
    written = write()
    assert "Experiment many of the study embedded-overrepresentation" in written["8_overrepresentation.html"]
    shutil.rmtree(executed)
    assert write() == written, "kept, and all others are the same"
    nbformat.write(make_book(is_executed=False, code="2 + 2"), folder / "notebooks" / "8_overrepresentation.ipynb")
    assert "8_overrepresentation.html" not in write(), "its code is another now"


def test_pages_are_written_where_no_notebook_was_executed_and_none_has_changed(write, folder, capsys):
    written = write()
    for file in (folder / "executed").glob("*.ipynb"):
        file.unlink()
    assert site.write_site(load_params(root=folder)) == {name: len(text.encode()) for name, text in written.items()}
    assert "stay as they were: 1_faces.html" in capsys.readouterr().out
    nbformat.write(make_book(is_executed=False, code="2 + 2"), folder / "notebooks" / "1_faces.ipynb")
    with pytest.raises(FileNotFoundError, match="1_faces was not executed here yet"):
        site.write_site(load_params(root=folder))


@pytest.mark.parametrize(
    ("executed", "sentence"),
    [
        (make_book(code="1 + 2"), "was made by other code than 1_faces.ipynb has (cell c)"),
        (make_book([new_output("error", ename="E", evalue="", traceback=[])]), "ended in an error (cell c)"),
        (make_book([new_output("execute_result", {"text/html": '<img src="https://x.org/a.png">'})]), "would load something"),
    ],
)
def test_what_must_not_be_published_is_refused(write, folder, executed, sentence):
    with pytest.raises(ValueError) as caught:
        write(executed)
    assert sentence in str(caught.value)
    assert not list((folder / "docs").glob("*.html")), "nothing is half written"


def test_a_path_of_this_machine_real_faces_too_large_pages_and_a_missing_run_are_refused(write, folder, monkeypatch):
    with pytest.raises(ValueError, match="path of a folder of this machine"):
        write(make_book([new_output("stream", name="stdout", text=f"{folder}/data")]))
    monkeypatch.setattr(site, "MAX_BYTES", 1000)
    with pytest.raises(ValueError, match=r"MB, the largest of them \w+.html"):
        write(make_book())
    (folder / "executed" / "1_faces-synthetic.ipynb").unlink()
    with pytest.raises(FileNotFoundError, match="make study"):
        write()
    params = load_params(root=folder)
    params.datasets["synthetic"] = params.datasets["synthetic"].model_copy(update={"reader": "lfw"})
    with pytest.raises(ValueError, match="not synthetic: their faces are not published"):
        site.write_site(params)


def test_pages_of_an_earlier_call_are_replaced_by_the_same_bytes(write, folder):
    written = write()
    (folder / "docs" / "9_gone.html").touch()
    assert write() == written
    report = folder / "docs" / "audit-report.html"
    report.write_text("the report of an audit")
    site.write_site(load_params(root=folder))
    assert report.read_text() == "the report of an audit", "which no page of the site replaces"
    report.write_text(f"an audit of {folder}/data")
    with pytest.raises(ValueError, match="audit-report.html holds the path"):
        site.write_site(load_params(root=folder))


def test_the_page_of_an_experiment_is_that_on_which_claim_4_is_judged(root):
    lines = load_study("embedded-overrepresentation", root).experiments
    assert min(lines, key=lambda name: site._rank_line(lines[name])) == "single"
