"""Read a face data set, one photo a row, into an index table, and the photos themselves lazily, a batch at a time.

The data sets are those of Webster et al. (arXiv 2107.06018) where a folder of them is at hand, LFW (Huang et al.
2007), the Olivetti faces (Samaria and Harter 1994) and the drawn people of ``ppe.synthetic``. A photo that cannot be
used stays a row and says why; only a whole data set that cannot be used is an error. Listing and reading share one
file, because they must agree on names, links and refusals.
"""

import hashlib
import os
import warnings
from collections import deque
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from PIL import Image, ImageFile, ImageOps, UnidentifiedImageError

from ppe import synthetic

MAX_SIDE = 10_000  # pixels; a wider photo is refused: it is a scan, a panorama or a decompression bomb, not a portrait
LONG_SIDE = 1_024  # pixels; a larger photo is shrunk to it on reading, so that memory stays flat
PHOTO_SUFFIXES = {".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"}
NO_IDENTITY = "(no identity)"  # of a file of whom nobody says who it shows: listed, never readable
MANY_DRAWN = 256  # drawn photos from which on starting processes pays for itself
AUXILIARY_PARTS = {"embedder": 0.6, "reference": 0.2, "threshold": 0.2}  # shares of the auxiliary people

# Address and checksum are those of scikit-learn's ``fetch_olivetti_faces``, whose own cache is a pickle: not read here.
OLIVETTI_FILE = "olivettifaces.mat"
OLIVETTI_URL = "https://ndownloader.figshare.com/files/5976027"
OLIVETTI_SHA256 = "b612fb967f2dc77c9c62d3e1266e0c73d5fca46a4b8906c18e454d41af987794"


# ---- the index ----------------------------------------------------------------------------------------------------


def read_index(reader, *, root=None, min_photos=1, max_photos=None, seed=0, num_identities=None, num_auxiliary=0,
               photos_per_identity=None, download_dir=None):
    """List a data set's photos, with a hash of the bytes and, where a photo cannot be used, the reason.

    The table is a function of the files' names and bytes and of the arguments: no time, no absolute path, no order of
    creation is in it. Names that are not UTF-8 are written with backslash escapes, and such files are not readable.

    Parameters
    ----------
    reader : str
        A key of ``READERS``.
    root : path or None
        Folder of the data set. None downloads (``lfw``, ``olivetti``); ``synthetic`` needs none.
    min_photos : int
        People with fewer files are left out.
    max_photos : int or None
        At most so many files a person, chosen by a shuffle that depends on (seed, identity) alone.
    seed : int, >= 0
        Seed of that shuffle; for ``synthetic`` also of the people and their photos.
    num_identities, num_auxiliary, photos_per_identity : int
        ``synthetic`` only: people to attack, auxiliary people after them, photos of each.
    download_dir : path or None
        Where ``lfw`` and ``olivetti`` are downloaded to; None is scikit-learn's data folder.

    Returns
    -------
    DataFrame, sorted by (identity, image_id) in code point order, with the columns
        image_id : str, unique; identity : str; path : str, relative to the root, forward slashes, "" if drawn;
        bytes : int64, size (0 if drawn); sha256 : str, of the file's bytes (of the pixels in Olivetti, of the identity
        vector and the photo's seed if drawn, "" if it could not be opened); readable : bool; reason : str, why not.
        ``readable`` comes from the header alone: a truncated file shows when it is decoded.
        ``synthetic`` adds ``attribute_*``, what is known of each drawn person.

    Raises
    ------
    FileNotFoundError
        If the root is missing.
    ValueError
        If the reader is unknown, a number is out of range, or no person is left.
    """
    root = find_root(reader, root, download_dir)
    if min_photos < 1 or (max_photos is not None and max_photos < 1):
        raise ValueError(f"min_photos={min_photos}, max_photos={max_photos}: both must be at least 1 "
                         "(params.yaml: datasets)")
    files = READERS[reader](root, num_identities=num_identities, num_auxiliary=num_auxiliary,
                            photos_per_identity=photos_per_identity)
    files = choose_photos(files, min_photos, max_photos, seed)
    if reader == "synthetic":
        return _describe_drawn(files, seed)
    if reader == "olivetti":
        faces = load_olivetti(root)
        details = [(photo.nbytes, hashlib.sha256(photo.tobytes()).hexdigest(), "")
                   for photo in (faces[_number(image_id)] for _, image_id, _, _ in files)]
    else:
        details = [(0, "", reason) if reason else _describe_file(root, path) for _, _, path, reason in files]
    return pd.DataFrame({
        "image_id": [file[1] for file in files], "identity": [file[0] for file in files],
        "path": [file[2] for file in files], "bytes": np.array([detail[0] for detail in details], dtype=np.int64),
        "sha256": [detail[1] for detail in details], "readable": [detail[2] == "" for detail in details],
        "reason": [detail[2] for detail in details]})


def choose_photos(files, min_photos, max_photos, seed):
    """Sort the listed files and keep ``min_photos`` to ``max_photos`` of each person.

    Parameters
    ----------
    files : list of (identity, image_id, path, reason)

    Raises
    ------
    ValueError
        If nobody has ``min_photos`` files.
    """
    people = {}
    for file in sorted(files):
        people.setdefault(file[0], []).append(file)
    most = max((len(photos) for identity, photos in people.items() if identity != NO_IDENTITY), default=0)
    if most < min_photos:
        raise ValueError(f"nobody has {min_photos} photos, the largest number is {most}: lower min_photos "
                         "(params.yaml: datasets)")
    kept = []
    for identity, photos in people.items():
        if identity == NO_IDENTITY:  # not a person: listed in full, so that nothing goes missing in silence
            kept.extend(photos)
            continue
        if len(photos) < min_photos:
            continue
        if max_photos is not None and len(photos) > max_photos:
            digest = hashlib.sha256(f"{seed}/{identity}".encode()).digest()
            order = np.random.default_rng(int.from_bytes(digest[:16], "little")).permutation(len(photos))
            photos = [photos[i] for i in sorted(order[:max_photos])]
        kept.extend(photos)
    return kept


def find_root(reader, root=None, download_dir=None):
    """Return the folder that holds a reader's photos, downloading LFW or Olivetti if ``root`` is None.

    Raises
    ------
    FileNotFoundError
        If the root does not exist.
    ValueError
        If the reader is unknown, or needs a root and got none.
    ConnectionError
        If the download fails.
    """
    if reader not in READERS:
        raise ValueError(f"reader={reader!r} is not one of {sorted(READERS)} (params.yaml: datasets)")
    if reader == "synthetic":
        return None
    if root is not None:
        if not Path(root).is_dir():
            raise FileNotFoundError(f"the root of {reader}, {root}, is not a folder (params.yaml: datasets, root)")
        return Path(root)
    if reader not in ("lfw", "olivetti"):
        raise ValueError(f"{reader} cannot be downloaded: name the folder that holds it (params.yaml: datasets, root)")
    from sklearn.datasets import fetch_file, fetch_lfw_people, get_data_home  # half a second, and only needed here

    home = Path(get_data_home(download_dir))
    try:
        if reader == "olivetti":
            fetch_file(OLIVETTI_URL, folder=home, local_filename=OLIVETTI_FILE, sha256=OLIVETTI_SHA256)
            return home
        # The public function downloads, checks and unpacks; its private part would do only that. With this minimum it
        # decodes one person's photos and no more. What is used is the folder of original frames that it leaves.
        fetch_lfw_people(data_home=home, funneled=False, min_faces_per_person=500)
        return home / "lfw_home" / "lfw"
    except OSError as error:
        raise ConnectionError(f"{reader} could not be downloaded ({_say(error)}): put it in a folder and name that "
                              "(params.yaml: datasets, root)") from error


# ---- what is there: (identity, image_id, path, reason) of each file -------------------------------------------------


def list_folder(root, **_):
    """List ``<root>/<identity>/.../<image>``: LFW, CASIA-WebFace, VGGFace2; image_id is the path."""
    files = [(path.split("/")[0], path, path, reason) if "/" in path
             else (NO_IDENTITY, path, path, "it lies beside the people's folders, so it is nobody's")
             for path, reason in _walk(root)]
    if all(identity == NO_IDENTITY for identity, *_ in files):
        raise ValueError(f"{root} holds photos but no person's folder: name a folder of <identity>/<image>, or set "
                         "reader: crowd (params.yaml: datasets)")
    return files


def list_crowd(root, **_):
    """List a folder of photos without identities (FFHQ): every photo is a person of its own."""
    return [(path, path, path, reason) for path, reason in _walk(root)]


def list_celeba(root, **_):
    """List ``identity_CelebA.txt`` (a file name and a number a line) and the images beside it; image_id is the name."""
    folder = next((name for name in ("img_align_celeba", "img_celeba") if (root / name).is_dir()), None)
    table = root / "identity_CelebA.txt"
    if folder is None or not table.is_file():
        raise FileNotFoundError(f"{root} needs identity_CelebA.txt and the photos in img_align_celeba/ or img_celeba/ "
                                "(params.yaml: datasets, root)")
    identities = {}
    for number, line in enumerate(table.read_text(encoding="utf-8").splitlines(), start=1):
        fields = line.rsplit(maxsplit=1)
        if len(fields) == 1:
            raise ValueError(f"identity_CelebA.txt, line {number}: {line!r} is not a file name and an identity")
        if fields:
            identities[fields[0].strip()] = fields[1]
    on_disk = {path: reason for path, reason in _walk(root / folder)}
    # Both ways: a name without a file is found missing when it is opened, a file without a name is nobody's.
    files = [(identity, name, f"{folder}/{name}", on_disk.get(name, "")) for name, identity in identities.items()]
    return files + [(NO_IDENTITY, name, f"{folder}/{name}", reason or "it is not named in identity_CelebA.txt")
                    for name, reason in on_disk.items() if name not in identities]


def list_olivetti(root, **_):
    """List the 40 people x 10 photos inside ``olivettifaces.mat``: subject-01/01 and so on."""
    if not (root / OLIVETTI_FILE).is_file():
        raise FileNotFoundError(f"{root} holds no {OLIVETTI_FILE} (params.yaml: datasets, root)")
    return [(f"subject-{i + 1:02d}", f"subject-{i + 1:02d}/{p + 1:02d}", OLIVETTI_FILE, "")
            for i in range(40) for p in range(10)]


def list_synthetic(root, *, num_identities, num_auxiliary, photos_per_identity):
    """List drawn people: person-0001/0001 and so on, those to attack first and the auxiliary people after them."""
    if not num_identities or num_identities < 1 or num_auxiliary < 0 or not photos_per_identity \
            or photos_per_identity < 1:
        raise ValueError(f"num_identities={num_identities}, num_auxiliary={num_auxiliary}, photos_per_identity="
                         f"{photos_per_identity}: drawn people need >= 1, >= 0 and >= 1 (params.yaml: datasets)")
    # One width for all, so that the sorted order is the order of the numbers.
    total = num_identities + num_auxiliary
    width, photo_width = max(4, len(str(total))), max(4, len(str(photos_per_identity)))
    return [(f"person-{i:0{width}d}", f"person-{i:0{width}d}/{p:0{photo_width}d}", "", "")
            for i in range(1, total + 1) for p in range(1, photos_per_identity + 1)]


READERS = {"synthetic": list_synthetic, "lfw": list_folder, "olivetti": list_olivetti, "celeba": list_celeba,
           "folder": list_folder, "crowd": list_crowd}


def _walk(root):
    """List (path with forward slashes, reason) of the photos under a folder.

    A folder that is not entered, a link or a locked one, is one entry, its path with a slash at the end.
    """
    found, locked = [], []
    for folder, folders, names in os.walk(root, onerror=locked.append):
        folders[:] = [name for name in folders if not name.startswith(".")]
        found += [(Path(folder, name), "/", "a link to a folder, which is not followed")
                  for name in folders if os.path.islink(os.path.join(folder, name))]
        found += [(Path(folder, name), "", "") for name in names
                  if os.path.splitext(name)[1].lower() in PHOTO_SUFFIXES and not name.startswith(".")]
    found += [(Path(error.filename), "/", f"a folder that cannot be listed: {_say(error)}") for error in locked]
    if not found:
        raise ValueError(f"{root} holds no photo ({', '.join(sorted(PHOTO_SUFFIXES))}): is it the right folder? "
                         "(params.yaml: datasets, root)")
    entries = []
    for location, slash, reason in found:
        path = location.relative_to(root).as_posix() + slash
        name = os.fsencode(path).decode("utf-8", "backslashreplace")
        entries.append((name, reason or ("" if name == path else "its name is not UTF-8: rename it")))
    return entries


# ---- drawn people ---------------------------------------------------------------------------------------------------


def photo_seed(seed, person, photo):
    """Seed of photo ``photo`` of person ``person`` (both from 0): the first 63 bits of SeedSequence((seed, i, p))."""
    return int(np.random.SeedSequence((seed, person, photo)).generate_state(1, np.uint64)[0] >> np.uint64(1))


def _person_and_photo(image_id):
    """Numbers, from 0, of ``person-0003/0001``: (2, 0)."""
    person, photo = image_id.rsplit("/", 1)
    return int(person.rsplit("-", 1)[1]) - 1, int(photo) - 1


def _number(image_id):
    person, photo = _person_and_photo(image_id)
    return person * 10 + photo


def sample_people(image_ids, seed):
    """Recompute what drawn photos are drawn from.

    Returns
    -------
    vectors : Tensor [B, K], float32, identity vector of each photo's person.
    seeds : Tensor [B], int64, photo seeds.
    """
    numbers = [_person_and_photo(image_id) for image_id in image_ids]
    people = np.array([person for person, _ in numbers])
    first = people.min()
    vectors = synthetic.sample_identities(int(people.max() - first + 1), seed, first=int(first))
    return vectors[people - first], torch.tensor([photo_seed(seed, *pair) for pair in numbers], dtype=torch.int64)


def _describe_drawn(files, seed):
    image_ids = [image_id for _, image_id, _, _ in files]
    vectors, seeds = sample_people(image_ids, seed)
    hashes = [hashlib.sha256(vector.tobytes() + number.tobytes()).hexdigest()
              for vector, number in zip(vectors.numpy().astype("<f4"), seeds.numpy().astype("<i8"), strict=True)]
    index = pd.DataFrame({"image_id": image_ids, "identity": [file[0] for file in files], "path": "",
                          "bytes": np.zeros(len(files), dtype=np.int64), "sha256": hashes, "readable": True,
                          "reason": ""})
    attributes = {f"attribute_{name}": values for name, values in synthetic.read_attributes(vectors).items()}
    truth = {f"vector_{name}": vectors[:, k].numpy() for k, name in enumerate(synthetic.PARAMETERS)}
    return pd.concat([index, pd.DataFrame({**attributes, **truth})], axis=1)


# ---- the photos -----------------------------------------------------------------------------------------------------


def iter_photos(index, reader, *, root=None, seed=0, size=128, batch_size=64, download_dir=None):
    """Read the photos of an index, in its order, a batch at a time.

    Parameters
    ----------
    index : DataFrame of ``read_index``
    reader, root, seed, download_dir
        As they were given to ``read_index``.
    size : int
        Side in pixels of drawn photos; the others come as large as they are, at most ``LONG_SIDE``.
    batch_size : int
        Rows a batch; what is read does not depend on it.

    Returns
    -------
    iterator of (positions, photos)
        positions : int64 [B], rows of the index; photos : list of B, each uint8 [H, W, 3] RGB, or a str that says why
        the photo could not be read.
    """
    root = find_root(reader, root, download_dir)
    if reader == "synthetic" and len(index) >= MANY_DRAWN:
        return _draw_side_by_side(list(index["image_id"]), seed, size, batch_size)
    if reader == "synthetic":
        def read(rows):
            return _draw(list(rows["image_id"]), seed, size)
    elif reader == "olivetti":
        faces = load_olivetti(root)

        def read(rows):
            return [np.repeat(faces[_number(image_id)][:, :, None], 3, axis=2) for image_id in rows["image_id"]]
    else:
        def read(rows):
            return [load_photo(root, path) if readable else reason
                    for path, readable, reason in zip(rows["path"], rows["readable"], rows["reason"], strict=True)]
    return ((np.arange(start, min(start + batch_size, len(index))), read(index.iloc[start:start + batch_size]))
            for start in range(0, len(index), batch_size))


def _draw(image_ids, seed, size):
    vectors, seeds = sample_people(image_ids, seed)
    return list(synthetic.draw_photos(vectors, seeds, size=size).permute(0, 2, 3, 1).numpy())


def _draw_side_by_side(image_ids, seed, size, batch_size):
    """Draw batches in as many processes as there are cores: a photo's planes are too small for torch's own threads.

    At most two batches a process wait, so that memory does not grow with the data set.
    """
    workers = min(os.cpu_count() or 1, 16)
    options = {"mp_context": get_context("spawn"), "initializer": torch.set_num_threads, "initargs": (1,)}
    with ProcessPoolExecutor(workers, **options) as pool:
        waiting = deque()
        for start in range(0, len(image_ids), batch_size):
            rows = np.arange(start, min(start + batch_size, len(image_ids)))
            waiting.append((rows, pool.submit(_draw, image_ids[start:start + batch_size], seed, size)))
            if len(waiting) > 2 * workers:
                positions, drawn = waiting.popleft()
                yield positions, drawn.result()
        for positions, drawn in waiting:
            yield positions, drawn.result()


def load_olivetti(root):
    """Load the Olivetti faces: uint8 [400, 64, 64] grey, ten of a person in a row."""
    from scipy.io import loadmat

    faces = loadmat(Path(root) / OLIVETTI_FILE).get("faces")
    if faces is None or faces.shape != (4096, 400) or faces.dtype != np.uint8:
        raise ValueError(f"{OLIVETTI_FILE} holds no 'faces', uint8 [4096, 400]: another file was expected")
    # MATLAB wrote each picture column by column: as rows it lies on its side.
    return faces.T.reshape(400, 64, 64).transpose(0, 2, 1)


def load_photo(root, path):
    """Decode a photo to uint8 [H, W, 3] RGB, upright and at most ``LONG_SIDE`` long, or return a str: why it cannot be.

    Transparent photos are laid over white, 16-bit grey is scaled to 8 bits, of an animation the first frame is taken;
    colour profiles are ignored.
    """
    ImageFile.LOAD_TRUNCATED_IMAGES = False  # another library may have set it: grey stripes would count as a photo
    location, reason = _locate(root, path)
    return reason or _open_photo(location, lambda image: np.array(_shrink(_convert_to_rgb(_load_upright(image)))))


def _describe_file(root, path):
    """Return (bytes, sha256, reason) of a file; its pixels are not decoded."""
    location, reason = _locate(root, path)
    if reason:
        return 0, "", reason
    try:
        with open(location, "rb") as file:
            size, digest = os.fstat(file.fileno()).st_size, hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        return 0, "", _say(error)
    return size, digest, _open_photo(location, lambda image: "")


def _open_photo(location, read):
    """Open a photo's header, check its size, and return ``read(image)``, or the reason (str) why it cannot be read."""
    try:
        if not os.path.getsize(location):
            return "the file is empty"
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of metadata, mostly
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(location) as image:
                if max(image.size) > MAX_SIDE:
                    return f"{image.width} x {image.height} pixels: more than {MAX_SIDE} on a side"
                return read(image)
    except UnidentifiedImageError:  # its own words hold the file's absolute path
        return "the file is not a picture of a known format"
    except (Image.DecompressionBombWarning, Image.DecompressionBombError):
        return f"more than {Image.MAX_IMAGE_PIXELS} pixels: refused as a decompression bomb"
    except Exception as error:  # Pillow's decoders raise what they like; one bad file is never fatal
        return _say(error)


def _locate(root, path):
    """Return (absolute path, "") of a photo, or (None, reason): no link is followed out of the root."""
    try:
        location = os.path.realpath(os.path.join(root, path), strict=True)
    except (OSError, ValueError) as error:
        return None, _say(error)
    if not Path(location).is_relative_to(os.path.realpath(root)):
        return None, "a link out of the root, which is not followed"
    return (location, "") if os.path.isfile(location) else (None, "not a regular file")


def _say(error):
    """Words of an error without the file's name, so that two machines write the same."""
    return getattr(error, "strerror", None) or str(error) or type(error).__name__


def _load_upright(image):
    image.draft(None, (LONG_SIDE, LONG_SIDE))  # a large JPEG is decoded at a half, a quarter or an eighth
    image.load()
    try:
        return ImageOps.exif_transpose(image)
    except Exception:  # a broken EXIF block says nothing about what is up, and the pixels are good
        return image


def _convert_to_rgb(image):
    if image.mode.startswith(("I", "F")):  # Pillow's conversion would clip 16 bits at 255 instead of scaling them
        values = np.asarray(image)
        if image.mode == "F" or values.min() < 0 or values.max() > 65535:
            raise ValueError(f"a picture of 32 bits a pixel (mode {image.mode}), whose white is unknown")
        image = Image.fromarray(((values.astype(np.int64) + 128) // 257).astype(np.uint8))
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return image.convert("RGB")


def _shrink(image):
    # By box to twice the size, then by a filter that widens with the step, so nothing aliases; smaller photos stay.
    image.thumbnail((LONG_SIDE, LONG_SIDE), Image.Resampling.BICUBIC, reducing_gap=2.0)
    return image


# ---- auxiliary people -----------------------------------------------------------------------------------------------


def mark_auxiliary(index, *, photos=None, last=None, usable=None):
    """Say of each photo whether its person may be attacked, is auxiliary (never attacked), or belongs to the crowd.

    It depends on the data set alone, so that all runs on it share their embedders.

    Parameters
    ----------
    photos : (int, int) or None
        ``(lo, hi)``: people with lo to hi usable photos are auxiliary, with more attacked, with fewer crowd.
    last : int or None
        The last so many people in sorted order are auxiliary, the others attacked. One of the two is given.
    usable : bool [N] or None
        Which photos count; None is the index's ``readable``.

    Returns
    -------
    Series of str, index of ``index``: "attacked", "auxiliary" or "crowd".
    """
    if (photos is None) == (last is None):
        raise ValueError(f"photos={photos}, last={last}: exactly one says who is auxiliary (params.yaml: datasets)")
    if last is not None:
        people = sorted(index["identity"].unique())
        if not 0 <= last <= len(people):
            raise ValueError(f"last={last} is not in 0 to {len(people)}, the number of people (params.yaml: datasets)")
        auxiliary = index["identity"].isin(people[len(people) - last:])
        return pd.Series(np.where(auxiliary, "auxiliary", "attacked"), index=index.index)
    low, high = photos
    if not 1 <= low <= high:
        raise ValueError(f"photos={photos}: 1 <= lo <= hi is needed (params.yaml: datasets)")
    usable = pd.Series(np.asarray(index["readable"] if usable is None else usable, dtype=bool), index=index.index)
    count = usable.groupby(index["identity"]).transform("sum")
    return pd.Series(np.select([count > high, count >= low], ["attacked", "auxiliary"], "crowd"), index=index.index)


def split_auxiliary(identities, seed):
    """Split auxiliary people, once a data set, into those who train an embedder, serve as reference and set thresholds.

    Parameters
    ----------
    identities : iterable of str
        Repetitions and order do not matter.
    seed : int

    Returns
    -------
    dict identity -> "embedder" (60 %), "reference" (20 %) or "threshold" (20 %); no part is empty.

    Raises
    ------
    ValueError
        If there are one or two people: three parts need three.
    """
    people = sorted(set(identities))
    if 0 < len(people) < len(AUXILIARY_PARTS):
        raise ValueError(f"{len(people)} auxiliary people cannot be split into {list(AUXILIARY_PARTS)}: "
                         "none or at least three are needed (params.yaml: datasets)")
    order = np.random.default_rng(seed).permutation(len(people))
    counts = {part: max(1, round(share * len(people))) for part, share in AUXILIARY_PARTS.items()}
    counts["embedder"] = len(people) - counts["reference"] - counts["threshold"]
    parts = np.repeat(list(counts), list(counts.values())) if people else []
    return {people[i]: str(part) for i, part in sorted(zip(order, parts, strict=True))}
