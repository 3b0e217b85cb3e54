"""Pages from small notebooks: prose as it is now, outputs as they were, and nothing that loads or runs."""

import base64
import io

import nbformat
import numpy as np
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output
from PIL import Image

from ppe.pipeline import html as pages

TITLE = "# 1 · Look\n\n**Question.** What is\nseen here?\n\n| in | out |"


def draw_picture(side=64):
    buffer = io.BytesIO()
    noise = np.random.default_rng(0).integers(0, 255, (side, side, 3), dtype=np.uint8)
    Image.fromarray(noise).save(buffer, "PNG")
    return buffer.getvalue()


def make_book(outputs=(), prose=TITLE, code="1 + 1", is_executed=True):
    cells = [new_markdown_cell(prose, id="m"), new_code_cell('run = "tiny"', id="p", metadata={"tags": ["parameters"]})]
    if is_executed:
        cells.append(new_code_cell('run = "one"', id="i", metadata={"tags": ["injected-parameters"]}))
    return new_notebook(cells=[*cells, new_code_cell(code, id="c", outputs=list(outputs))])


@pytest.fixture
def write(tmp_path):
    """A function that lays down a notebook and its executed copy and writes the pages."""
    for folder in ("notebooks", "executed"):
        (tmp_path / folder).mkdir()

    def write(executed, book=None):
        nbformat.write(book or make_book(is_executed=False), tmp_path / "notebooks" / "1_look.ipynb")
        nbformat.write(executed, tmp_path / "executed" / "1_look-one.ipynb")
        sizes = pages.write_site(tmp_path / "notebooks", tmp_path / "executed", tmp_path / "docs", {"run": "one"})
        assert sizes == {path.name: path.stat().st_size for path in (tmp_path / "docs").iterdir()}
        return {name: (tmp_path / "docs" / name).read_text(encoding="utf-8") for name in sizes}

    return write


def test_prose_is_todays_and_outputs_are_the_runs(write):
    done = make_book([new_output("execute_result", {"text/plain": "forty-two"})], prose="an old sentence")
    written = write(done)
    assert list(written) == ["1_look.html", "index.html"]
    page = written["1_look.html"]
    assert "forty-two" in page and "seen here?" in page and "old sentence" not in page and '"one"' in page
    assert "1 · Look" in written["index.html"] and "What is seen here?" in written["index.html"]


def test_pictures_stay_and_shrink(write):
    picture = draw_picture()
    page = write(make_book([new_output("display_data", {"image/png": base64.b64encode(picture).decode()})]))["1_look.html"]
    found = base64.b64decode(page.split("data:image/webp;base64,")[1].split('"')[0])
    assert len(found) < len(picture) and Image.open(io.BytesIO(found)).size == (64, 64)


def test_progress_widgets_and_scripts_are_left_out(write):
    outputs = [
        new_output("stream", name="stderr", text="10% done"), new_output("stream", name="stdout", text="said"),
        new_output("display_data", {"application/vnd.jupyter.widget-view+json": {"model_id": "x"}, "text/plain": "bar"}),
        new_output("execute_result", {"text/html": "<script>run()</script>", "text/plain": "plain"}),
    ]  # fmt: skip
    page = write(make_book(outputs))["1_look.html"]
    assert "said" in page and "plain" in page
    assert not any(word in page for word in ("10% done", "bar</pre>", "<script", "http"))


@pytest.mark.parametrize(
    ("executed", "sentence"),
    [
        (make_book(code="1 + 2"), "was made by other code than 1_look.ipynb has (cell c)"),
        (make_book([new_output("error", ename="E", evalue="", traceback=[])]), "ended in an error (cell c)"),
        (make_book([new_output("execute_result", {"text/html": '<img src="https://x.org/a.png">'})]), "would load something"),
    ],
)
def test_what_must_not_be_published_is_refused(write, tmp_path, executed, sentence):
    with pytest.raises(ValueError) as caught:
        write(executed)
    assert sentence in str(caught.value)
    assert not (tmp_path / "docs").exists(), "nothing is half written"


def test_a_path_of_this_machine_too_large_pages_and_a_missing_run_are_refused(write, tmp_path, monkeypatch):
    with pytest.raises(ValueError, match="path of a folder of this machine"):
        write(make_book([new_output("stream", name="stdout", text=f"{tmp_path}/data")]))
    monkeypatch.setattr(pages, "MAX_BYTES", 1000)
    with pytest.raises(ValueError, match="MB, the largest of them 1_look.html"):
        write(make_book())
    (tmp_path / "executed" / "1_look-one.ipynb").unlink()
    with pytest.raises(FileNotFoundError, match="make study"):
        pages.write_site(tmp_path / "notebooks", tmp_path / "executed", tmp_path / "docs", {"run": "one"})


def test_pages_of_an_earlier_call_are_replaced(write, tmp_path):
    write(make_book())
    (tmp_path / "docs" / "9_gone.html").touch()
    assert set(write(make_book())) == {"1_look.html", "index.html"}


def test_what_a_study_has_no_use_for_is_left_out(write, tmp_path):
    write(make_book())
    folders = [tmp_path / name for name in ("notebooks", "executed", "docs")]
    assert list(pages.write_site(*folders, {"run": "one"}, ["1_look"])) == ["index.html"]
    assert [path.name for path in (tmp_path / "docs").iterdir()] == ["index.html"]
