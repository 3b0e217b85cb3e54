"""The audit's notebook keeps the rules of the others, and its command the promises of its help."""

import json
import re

import nbformat
import pytest

from ppe.audit.command import fill_people
from ppe.config import load_params


def test_the_notebook_is_prose_with_short_cells_and_no_outputs(root):
    book = nbformat.read(root / "notebooks" / "audit.ipynb", as_version=4)
    nbformat.validate(book)
    code = [cell for cell in book.cells if cell.cell_type == "code"]
    assert "**Question.**" in book.cells[0].source and len(code) <= 16
    assert [("parameters" in cell.metadata.get("tags", [])) for cell in code] == [True] + [False] * (len(code) - 1)
    for line in code[0].source.splitlines():
        assert re.fullmatch(r'\w+ = ("synthetic-32-fastgan-10:a"|None|False)  # .+', line)
    for cell in code:
        assert not cell.outputs and len([line for line in cell.source.splitlines() if line.strip()]) <= 12
        assert not re.search(r"^\s*(def|class|try)\b|^\s*[!%]", cell.source, re.M)
    assert sum(len(cell.source.split()) for cell in book.cells if cell.cell_type == "markdown") <= 1000


def test_an_audit_without_people_needs_a_run_of_synthetic_identities(root, tmp_path):
    params = load_params(root=root)
    assert fill_people(params, str(tmp_path), "people", None) == ("people", None)
    with pytest.raises(ValueError, match="--people must be given"):
        fill_people(params, str(tmp_path))
    with pytest.raises(ValueError, match="is neither a file nor a run of this study"):
        fill_people(params, "none-such:a")


def test_the_section_of_a_named_audit_is_checked(root):
    from ppe.config.params import Params

    content = load_params(root=root).model_dump()
    content["audits"] = {"mine": {"generated": "a", "people": "b"}}
    assert Params.model_validate(content).audits["mine"].controls is None
    content["audits"]["mine"]["colour"] = "red"
    with pytest.raises(ValueError, match="colour"):
        Params.model_validate(content)
    content["audits"] = {"Mine": {"generated": "a", "people": "b"}}
    with pytest.raises(ValueError, match="lower-case"):
        Params.model_validate(content)
    assert json.dumps(content["audit"])
