"""Studies as overlays: ``studies/<name>.yaml`` holds only what differs from ``params.yaml``."""

LINES = {"runs": "run_defaults", "experiments": "experiment_defaults"}
"""Section of which each entry is a line of its own -> the section that holds what its lines have in common."""


USUAL = {"runs": {"defence": "none"}, "experiments": {}}
"""What a line has that neither it nor the defaults give."""


def merge_overlay(content, overlay):
    """Lay a study over ``params.yaml``.

    ``runs`` and ``experiments`` of the overlay replace those below; each of their lines takes what it does not give itself from
    ``run_defaults`` or ``experiment_defaults``. All other sections are merged key by key. Data sets that no run and no experiment
    names are dropped, since each would be read.

    Parameters
    ----------
    content, overlay : dict
        The two files, as YAML gives them.

    Returns
    -------
    dict
        A whole ``params.yaml``: every key on each line, as dvc needs it.
    """
    overlay = {**dict.fromkeys(LINES, {}), **overlay}
    lines = {section: overlay.pop(section) for section in LINES}
    defaults = {section: overlay.pop(name, {}) for section, name in LINES.items()}
    merged = _lay_over({name: value for name, value in content.items() if name not in LINES}, overlay)
    for section, entries in lines.items():
        common = _complete(USUAL[section], defaults[section] or {})
        is_mapping = isinstance(entries, dict)
        merged[section] = {name: _complete(common, line) for name, line in entries.items()} if is_mapping else entries or {}
    used = _list_used(merged)
    if isinstance(merged.get("datasets"), dict) and used & set(merged["datasets"]):
        merged["datasets"] = {name: value for name, value in merged["datasets"].items() if name in used}
    return merged


def _lay_over(below, above):
    """Sections key by key, at any depth; whatever is no section replaces what stood there."""
    if not (isinstance(below, dict) and isinstance(above, dict)):
        return above
    return below | {key: _lay_over(below.get(key), value) for key, value in above.items()}


def _list_used(content):
    """Data sets that runs and experiments name: set of str."""
    sections = [content[section] for section in LINES if isinstance(content[section], dict)]
    lines = [line for section in sections for line in section.values() if isinstance(line, dict)]
    return {line["dataset"] for line in lines if isinstance(line.get("dataset"), str)}


def _complete(defaults, line):
    """A line with its defaults; what is no mapping is left for the check of types to refuse."""
    return {**defaults, **line} if isinstance(line, dict) and isinstance(defaults, dict) else line
