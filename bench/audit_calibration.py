"""How right is an audit? Audits of the embedded study's generators, redrawn by person; no leak; planted copies; scale.

    python bench/audit_calibration.py runs [RUN ...]   # false discovery rate and power: membership is known, and hidden
    python bench/audit_calibration.py null [RUN ...]   # generators of other people: p-values must be uniform
    python bench/audit_calibration.py elsewhere [RUN ...]   # the same, but the controls are auxiliary people: another source
    python bench/audit_calibration.py redrawn FACES PEOPLE CONTROLS   # the same for folders of whom nobody is a member
    python bench/audit_calibration.py planted   # one person copied in 0.03 to 3 % of the faces
    python bench/audit_calibration.py pairs     # 10,000 x 5 drawn faces against 5,000 x 5 photos, 20 people leaked
    python bench/audit_calibration.py scale [--faces 1000000]   # a whole audit: against 10,000 photos of 5,000 people
    python bench/audit_calibration.py outside FOLDER OUT   # draws faces of gan-face-generate, unpacked in FOLDER, to OUT

``runs``, ``null``, ``elsewhere``, ``planted`` and ``scale`` need a finished study in the working folder (`make study`; of others,
.studies/<name>).
The models are the first two of the data set. docs/audit.md has the numbers of one machine.
"""

import argparse
import resource
import sys
import time
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
from scipy import stats

from ppe.attacks.nearest import find_nearest
from ppe.attacks.normalisation import find_top_values
from ppe.audit import p_values
from ppe.config import load_array, load_params, load_table
from ppe.embedders.embed import build_embed
from ppe.faces import resize_faces

AUDITS = 200
PEOPLE, CONTROLS = 20, 80
"""People and controls of an audit. Half of the people are members, where there are any."""


def embed_run(params, run, num_photos=5):
    """Embeddings of a run's generators and of its photos: (dict group -> dict model -> [M, D], dict model -> [N, D], photos).

    photos : DataFrame of ``list_photos``, with ``num_photos`` a person; its ``row`` counts the rows of the embeddings.
    """
    settings = params.runs[run]
    photos = list_photos(params, run, load_table(params.faces_folder(settings.dataset) / "faces.csv"), num_photos)
    aligned = load_array(params.faces_folder(settings.dataset) / "faces.npy")
    faces = resize_faces(np.array(aligned[photos.row.to_numpy()]), settings.resolution)
    models = params.datasets[settings.dataset].embedders[:2]
    embed = {name: build_embed(params, settings.dataset, name, "cpu") for name in models}
    real = {name: np.asarray(call(faces)) for name, call in embed.items()}
    drawn = {group: load_array(params.generated_folder(run) / f"{group}.npy")[: settings.num_generated] for group in "abc"}
    generated = {group: {name: np.asarray(call(faces)) for name, call in embed.items()} for group, faces in drawn.items()}
    return generated, real, photos.assign(row=np.arange(len(photos)))


def list_photos(params, run, table, num_photos=5):
    """Photos that no generator saw, ``num_photos`` of each person at most: DataFrame identity, group, row.

    group : a or b, "" for people in no group, "auxiliary".
    """
    split = load_table(params.generators_folder(run) / "split.csv")
    row = pd.Series(table.index, index=table.image_id)
    asked = split[(split.role == "query") & split.group.isin(["a", "b"])]
    free = table[table.detected & (table.duplicate_of == "") & (table.role == "attacked") & ~table.identity.isin(split.identity)]
    asked = pd.DataFrame({"identity": asked.identity, "group": asked.group, "row": row[asked.image_id].to_numpy()})
    aside = table[table.detected & (table.duplicate_of == "") & (table.role == "auxiliary")]
    parts = [pd.DataFrame({"identity": part.identity, "group": group, "row": part.index})
             for part, group in ((free, ""), (aside, "auxiliary"))]  # fmt: skip
    photos = pd.concat([asked, *parts], ignore_index=True)
    return photos.groupby("identity").head(num_photos).reset_index(drop=True)


def audit_once(generated, real, photos, people, controls, rules, seed):
    """One audit: (table of ``score_people``, group p-value)."""
    is_cohort = p_values.split_controls(controls, cohort_share=rules.cohort_share, max_cohort=rules.max_cohort, seed=seed)
    cohort, others = controls[is_cohort], controls[~is_cohort]
    rows = {part: photos[photos.identity.isin(names)] for part, names in
            {"people": people, "cohort": cohort, "controls": others}.items()}  # fmt: skip
    scored = {}
    for part in ("people", "controls"):
        values = {}
        for name, vectors in real.items():
            options = {"cohort_size": rules.cohort_size, "top_k": rules.top_k}
            known = vectors[rows[part].row], generated[name], vectors[rows["cohort"].row]
            for attack, (value, _) in find_top_values(*known, **options).items():
                values |= {f"{name}/{attack}": value.mean(1).numpy()} if attack in rules.scores else {}
        scored[part] = values, rows[part].identity.to_numpy()
    matching = {"photo_share": rules.photo_share, "seed": seed}
    table = p_values.flag_people(
        p_values.score_people(scored["people"], scored["controls"], **matching), rules.false_discovery_rate
    )
    options = {"num_resamples": 0, "num_permutations": 199, "seed": seed}
    row, _ = p_values.compare_group(scored["people"], scored["controls"], photo_share=rules.photo_share, options=options, name="")
    return table, row["p_value"]


def run_audits(params, run, rules, num_audits, num_members, from_auxiliary=False):
    """Audits of generators A and B by turns, people and controls redrawn: DataFrame, one row a person and audit.

    from_auxiliary : bool. Controls are auxiliary people, who were chosen in another way (on LFW: with fewer photos).
    """
    (generated, real, photos), parts = embed_run(params, run), []
    group_of = photos.drop_duplicates("identity").set_index("identity").group
    for number in range(num_audits):
        rng, group = np.random.default_rng(number), "ab"[number % 2]
        members = rng.permutation(group_of.index[group_of == group])[:num_members]
        free = rng.permutation(group_of.index[~group_of.isin([group, "auxiliary"])])
        # Some non-members are asked about, too; the rest of those who are in no group are controls.
        others, controls = free[: PEOPLE - len(members)], free[PEOPLE - len(members) :][:CONTROLS]
        if from_auxiliary:
            controls = rng.permutation(group_of.index[group_of == "auxiliary"])[:CONTROLS]
        found, group_p = audit_once(generated[group], real, photos, np.concatenate([members, others]), controls, rules, number)
        parts.append(found.assign(audit=number, is_member=found.identity.isin(members), group_p=group_p))
    return pd.concat(parts, ignore_index=True)


def measure_runs(params, num_audits, runs=()):
    """False discovery rate and power of audits whose people are members by half, at several rates."""
    for run in runs or params.runs:
        started = time.perf_counter()
        table = run_audits(params, run, params.audit, num_audits, PEOPLE // 2)
        groups = table.drop_duplicates("audit").group_p
        seconds = time.perf_counter() - started
        print(f"{run}: {num_audits} audits, group p < 0.05 in {(groups < 0.05).mean():.2f}; {seconds:.0f} s", flush=True)
        for rate in (params.audit.false_discovery_rate, 0.2, 0.3):
            is_named = table.q_value <= rate
            counts = pd.DataFrame({"false": is_named & ~table.is_member, "all": is_named}).groupby(table.audit).sum()
            share = counts["false"] / counts["all"].clip(lower=1)
            error, power = share.std() / np.sqrt(num_audits), is_named[table.is_member].mean()
            print(
                f"  q = {rate}: false discovery rate {share.mean():.3f} (standard error {error:.3f}), members named {power:.2f}"
            )


def measure_null(params, num_audits, runs=(), from_auxiliary=False):
    """Generators of other people: is each p-value uniform, and how often is anybody named?"""
    for run in runs or params.runs:
        table = run_audits(params, run, params.audit, num_audits, 0, from_auxiliary)
        say_null(run, table, num_audits)


def measure_redrawn(params, folders, num_audits):
    """As ``measure_null``, for a generator from outside and folders of people and controls, of whom nobody is a member."""
    from ppe.audit.walk import read_sets

    sets = read_sets(params, *folders)
    real = [sets.faces[name] for name in ("people", "controls")]
    vectors = {name: np.concatenate([np.array(faces.vectors[name]) for faces in real]) for name in sets.models.nets}
    identity = np.concatenate([faces.identity.astype(str) for faces in real])
    photos = pd.DataFrame({"identity": identity, "row": np.arange(len(identity))})
    generated, parts = {name: np.array(rows) for name, rows in sets.faces["generated"].vectors.items()}, []
    for number in range(num_audits):
        names = np.random.default_rng(number).permutation(np.unique(identity))
        found, group_p = audit_once(generated, vectors, photos, names[:PEOPLE], names[PEOPLE:], params.audit, number)
        parts.append(found.assign(audit=number, group_p=group_p))
    say_null("outside", pd.concat(parts, ignore_index=True), num_audits)


def say_null(name, table, num_audits):
    """Print how uniform p-values are (one person an audit, since people share controls), and how often somebody is named."""
    one = table.groupby("audit").sample(1, random_state=0)
    test = stats.kstest(one.p_value - np.random.default_rng(0).uniform(0, one.min_p), "uniform")
    groups, named = table.drop_duplicates("audit").group_p, table.groupby("audit").is_flagged.any()
    print(f"{name}: {num_audits} audits without a leak, KS p = {test.pvalue:.3f}", flush=True)
    print(f"  somebody named in {named.mean():.3f} of audits, group p < 0.05 in {(groups < 0.05).mean():.3f}", flush=True)


def measure_planted(params, num_planted, runs=()):
    """One person of the list copied in a share of the faces: is this person named, and nobody else?"""
    (generated, real, spare), rows = embed_run(params, next(iter(runs or params.runs)), num_photos=11), []
    photos = spare.groupby("identity").head(5)
    free = photos.identity[photos.group == ""].unique()
    for number in range(num_planted):
        rng = np.random.default_rng(number)
        names = rng.permutation(free)
        person, people = names[0], names[:1]
        own = photos.row[photos.identity == person]
        others = spare.row[(spare.identity == person) & ~spare.row.isin(own)].to_numpy()
        for share in params.audit.planted_shares:
            faces = max(1, round(share * len(next(iter(generated["c"].values())))))
            changed = {
                name: np.concatenate([generated["c"][name][faces:], real[name][np.resize(others, faces)]]) for name in real
            }
            found, _ = audit_once(changed, real, photos, people, names[1:], params.audit, number)
            rows.append(
                (share, found.is_flagged[found.identity == person].any(), found.p_value[found.identity == person].iloc[0])
            )
    table = pd.DataFrame(rows, columns=["share", "is_named", "p_value"])
    print(table.groupby("share").agg(named=("is_named", "mean"), median_p=("p_value", "median"), audits=("p_value", "size")))


def draw_unit(rows, width, rng):
    rows = rows if isinstance(rows, np.ndarray) else rng.standard_normal((rows, width), dtype=np.float32)
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def measure_pairs(num_identities=10_000, num_people=5_000, num_leaked=20, width=512):
    """A synthetic face set against real people's photos, all drawn: do the ranked pairs find those who leaked?"""
    rng = np.random.default_rng(0)
    synthetic, people = (rng.standard_normal((count, width), dtype=np.float32) for count in (num_identities, num_people))
    synthetic[:num_leaked] = people[:num_leaked]

    def photograph(centres):
        return draw_unit(np.repeat(centres, 5, axis=0) + 0.8 * rng.standard_normal((5 * len(centres), width), dtype=np.float32),
                         width, rng)  # fmt: skip

    generated, photos, controls = (
        photograph(synthetic),
        photograph(people),
        photograph(rng.standard_normal((1000, width), dtype=np.float32)),
    )
    started = time.perf_counter()
    cosine = 1 - find_nearest(photos, generated)[0].numpy()
    threshold = (1 - find_nearest(controls[::5], generated)[0].numpy()).max()
    found = set(np.flatnonzero(cosine > threshold) // 5)
    true = len(found & set(range(num_leaked)))
    print(f"pairs: {true} of {num_leaked} leaked people lie above the threshold {threshold:.3f}, with {len(found) - true} others")
    print(f"  threshold of one photo of each of 1,000 controls; {time.perf_counter() - started:.0f} s, {read_peak():.2f} GB")


def measure_scale(num_generated, num_people=2000, num_controls=3000, photos=2):
    """A whole audit by its command: faces of the study's first run, many times with noise, and photos of as many people.

    The inputs are drawn by another process: on Linux, the largest memory of a process counts that of the one which started it.
    """
    import multiprocessing
    import os
    import subprocess
    import tempfile

    params = load_params()
    run, model = next(iter(params.runs)), next(iter(params.datasets.values())).embedders[0]
    with tempfile.TemporaryDirectory() as folder:
        drawing = num_generated, params.generated_folder(run) / "a.npy", folder, num_people, num_controls, photos
        process = multiprocessing.get_context("spawn").Process(target=draw_inputs, args=drawing)
        process.start()
        process.join()
        command = [sys.executable, "-m", "ppe", "audit", "--generated", f"{folder}/faces.npy", "--people", f"{folder}/people",
                   "--controls", f"{folder}/controls", "--models", model, "--out", f"{folder}/out"]  # fmt: skip
        started = time.perf_counter()
        _, status, usage = os.wait4(subprocess.Popen(command).pid, 0)
        peak = usage.ru_maxrss / (1e9 if sys.platform == "darwin" else 1e6)
        print(f"scale: {num_generated} faces, {photos} photos of {num_people} people and {num_controls} controls: "
              f"{time.perf_counter() - started:.0f} s, {peak:.2f} GB" if status == 0 else f"ended with {status}")  # fmt: skip


def draw_inputs(num_generated, source, folder, num_people, num_controls, photos):
    """Write what ``measure_scale`` audits to ``folder``: faces.npy, from the faces of ``source``, people/ and controls/."""
    import torch
    from PIL import Image

    from ppe.datasets.synthetic import draw_photos, sample_identities

    rng, people = np.random.default_rng(0), sample_identities(num_people + num_controls, 1)
    for number, identity in enumerate(people):
        own = Path(folder) / ("people" if number < num_people else "controls") / f"p{number:05d}"
        own.mkdir(parents=True)
        for photo, face in enumerate(draw_photos(identity.repeat(photos, 1), torch.arange(photos), size=96)):
            Image.fromarray(face.permute(1, 2, 0).numpy()).save(own / f"{photo}.png")
    drawn = np.array(load_array(source)).astype(np.int16)
    shape = (num_generated, *drawn.shape[1:])
    faces = np.lib.format.open_memmap(Path(folder) / "faces.npy", mode="w+", dtype=np.uint8, shape=shape)
    for start in range(0, num_generated, 2**14):
        block = drawn[rng.integers(0, len(drawn), min(2**14, num_generated - start))]
        faces[start : start + len(block)] = np.clip(block + rng.integers(-12, 13, block.shape), 0, 255)


def read_peak():
    """Largest memory of this process so far, in GB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1e9 if sys.platform == "darwin" else 1e6)


def draw_outside(source, out, count=2000):
    """Pictures of a generator from outside, 64 px: the DCGAN of gan-face-generate, whose weights are read as tensors alone."""
    import torch
    from PIL import Image

    sys.path.insert(0, str(source))
    from gan_face_generate.models import Generator

    weights = torch.load(Path(source) / "gan_face_generate" / "weights.tar", map_location="cpu", weights_only=True)
    generator = Generator(0, 3, 100, 64)
    generator.load_state_dict(weights["netG_state_dict"])
    generator.eval()
    torch.manual_seed(0)
    Path(out).mkdir(parents=True, exist_ok=True)
    with torch.no_grad():
        for start in range(0, count, 100):
            faces = ((generator(torch.randn(100, 100, 1, 1)).clamp(-1, 1) + 1) * 127.5).round().byte().permute(0, 2, 3, 1)
            for number, face in enumerate(faces.numpy(), start):
                Image.fromarray(face).save(Path(out) / f"{number:05d}.png")
    print(f"{out}: {count} faces")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=["runs", "null", "elsewhere", "redrawn", "planted", "pairs", "scale", "outside"])
    parser.add_argument("folders", nargs="*", help="runs; of redrawn; of outside: where it was unpacked, and where pictures go")
    parser.add_argument("--audits", type=int, default=AUDITS)
    parser.add_argument("--faces", type=int, default=100_000, help="generated faces, of scale")
    arguments = parser.parse_args()
    if arguments.what == "outside":
        draw_outside(*arguments.folders)
    elif arguments.what == "redrawn":
        measure_redrawn(load_params(), arguments.folders, arguments.audits)
    elif arguments.what == "pairs":
        measure_pairs()
    elif arguments.what == "scale":
        measure_scale(arguments.faces)
    else:
        measure = {"runs": measure_runs, "null": measure_null, "planted": measure_planted,
                   "elsewhere": partial(measure_null, from_auxiliary=True)}[arguments.what]  # fmt: skip
        measure(load_params(), arguments.audits, arguments.folders)


if __name__ == "__main__":
    main()
