"""What a study found, in a few lines: printed when it ends, and after its first run."""

from pathlib import Path

from ppe.config import load_table
from ppe.config.paths import find_project
from ppe.evaluation.collection import compute_headlines, select_headline
from ppe.evaluation.tables import choose_embedder
from ppe.faces.losses import describe_losses


def report_study(params, run=None):
    """Print the headline of each run and experiment, and where to read on: in the notebook of ``run``, else of the first."""
    rows = load_table(params.results_folder() / "attacks.csv")
    if params.toy:
        print("\nThis study is a toy: it shows that all stages run, and its numbers mean nothing.")
    print("\nAUC of the attack `nearest` on unseen photos (0.5 is chance), pooled over two generators:")
    for line in describe_runs(rows, list(params.runs), params.verdicts):
        print(f"  {line}")
    if params.experiments:
        table = load_table(params.results_folder() / "overrepresentation.csv")
        rate = params.overrepresentation.match_rate
        print(f"\nBy the share of a person's photos in the training set ({rate:.1%} of the faces match by chance):")
        for line in describe_experiments(table, list(params.experiments), params.verdicts.min_verification_auc):
            print(f"  {line}")
    for sentence in describe_photos(params):
        print(f"\nNote: {sentence}.")
    print("\nRead on (make lab opens the notebooks):")
    run = run if run in params.runs else next(iter(params.runs))
    books = (params.executed_file("5_attack", run), params.executed_file("9_claims", params.study))
    for book in filter(Path.exists, books):  # of runs that came with the repository there are no notebooks
        print(f"  {book.relative_to(find_project(params.root))}")
    for file in (params.results_folder() / "attacks.csv", params.results_folder() / "figures"):  # also brought back from a copy
        print(f"  {file.relative_to(params.root)}")


def report_run(params, run):
    """Print the headline of one run as soon as it stands, while the study goes on."""
    (line,) = describe_runs(load_table(params.rows_file(run)), [run], params.verdicts)
    print(f"\nThe first result stands, AUC of the attack `nearest` on unseen photos (0.5 is chance): {line}")
    book = params.executed_file("5_attack", run).relative_to(find_project(params.root))
    print(f"Read {book} while the study goes on.\n", flush=True)


def describe_photos(params):
    """What a study should know about the photos that it does not use: list of str, empty where no face was looked for here."""
    sentences = []
    for name in params.datasets:
        file = params.faces_folder(name) / "faces.csv"
        needs = {run: line.train_photos + line.query_photos for run, line in params.runs.items() if line.dataset == name}
        if file.exists():
            sentences += describe_losses(load_table(file), name, needs)
    return sentences


def describe_runs(rows, runs, rules):
    """Describe each run in a line: name, AUC, interval, and why there is no verdict, if so.

    rows : DataFrame of ``collect_rows``; runs : list of str; rules : the section ``verdicts`` of params. Returns a list of str.
    """
    headlines, lines = compute_headlines(rows, runs, rules), []
    for run in runs:
        row = select_headline(rows, run, rules.min_verification_auc)
        interval = f"[{row.low:.2f}, {row.high:.2f}]" if row.low == row.low else "(too few identities for an interval)"
        failed = ", CONTROL FAILED: no verdict" if headlines[run]["control_failed"] else ""
        weak = "" if headlines[run]["embedder_is_sound"] else ", no verdict: no face recognition model is sound here"
        lines.append(f"{run}: {row.value:.2f} {interval}{failed}{weak}")
    return lines


def describe_experiments(table, experiments, min_auc):
    """Describe each experiment in a line: match share and share of identities detected, by data share.

    table : DataFrame, rows of overrepresentation.csv; experiments : list of str; min_auc : float, the AUC from which on an
    embedder is sound. Returns a list of str.
    """
    lines = []
    for experiment in experiments:
        own = table[table.experiment == experiment]
        verified = own.drop_duplicates("embedder").set_index("embedder").embedder_auc.dropna().to_dict()
        main, is_sound = choose_embedder(verified, min_auc)
        means = own[(own.embedder == main) & (own.statistic == "mean") & own.calibration.isin(["", "generators"])]
        cells = means.pivot_table(index="data_share", columns="measure", values="value")
        shares = "; ".join(f"{row.Index:.1%}: {row.match_share:.1%} of the faces match, {row.detected:.0%} of the people detected"
                           for row in cells.itertuples())  # fmt: skip
        lines.append(f"{experiment}: {shares}" + ("" if is_sound else ", no verdict: no face recognition model is sound here"))
    return lines
