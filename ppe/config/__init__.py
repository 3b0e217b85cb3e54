"""Everything a reader may change (``params.yaml``), every path, and how files are written: what a notebook imports first."""

from ppe.config.params import Params, choose_device, load_params
from ppe.config.paths import find_root, find_shared
from ppe.config.storage import (
    LazyRows,
    create_array,
    load_array,
    load_table,
    require_file,
    save_array,
    save_json,
    save_table,
    write_whole,
)

__all__ = [
    "LazyRows",
    "Params",
    "choose_device",
    "create_array",
    "find_root",
    "find_shared",
    "load_array",
    "load_params",
    "load_table",
    "require_file",
    "save_array",
    "save_json",
    "save_table",
    "write_whole",
]
