"""From face sets to findings and a report: a leak is found, its absence too, and a report that cannot tell says so."""

import itertools
import json
import re
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from audit_sets import draw_people, make_audit, make_set, unit
from PIL import Image

from ppe.audit import verdict
from ppe.audit.attributes import ATTRIBUTES
from ppe.audit.copies import find_pairs, replace_pairs
from ppe.audit.exchangeability import average_attributes, compare_attributes
from ppe.audit.guards import find_controls, refuse_overlap, refuse_same_pictures
from ppe.audit.inputs import Source
from ppe.audit.limits import _limit_names, names_one
from ppe.audit.report import write_report
from ppe.audit.verdict import judge
from ppe.audit.walk import find_all
from ppe.config import load_params


@pytest.fixture(scope="module")
def params(root):
    loaded = load_params(root=root)
    attack = loaded.attack.model_copy(update={"num_resamples": 200, "num_permutations": 499})
    return loaded.model_copy(update={"attack": attack, "audit": loaded.audit.model_copy(update={"num_planted": 10})})


@pytest.fixture(scope="module")
def leaking(params):
    sets = make_audit(misses=[("Ørsted/1.png", "Ørsted", "no face found")])
    return sets, find_all(sets, params)


def test_members_are_named_and_nobody_else(leaking, params):
    sets, findings = leaking
    flagged = set(findings.people.identity[findings.people.is_flagged])
    assert flagged == {f"Åsa {n:02}" for n in range(5)}
    told = judge(findings, sets, params.audit)
    assert told["level"] == "exposed"
    assert told["sentences"][0].startswith("5 of 20 people stand out against 68 of the 90 control people")
    assert any("1 people could not be tested" in limit for limit in told["limits"])


@pytest.fixture(scope="module")
def quiet(params):
    sets = make_audit(num_members=0, num_people=5, num_controls=200, seed=3)
    return sets, find_all(sets, params)


def test_where_nobody_leaks_nobody_is_named_and_the_report_says_what_it_could_have_missed(quiet, params):
    sets, findings = quiet
    told = judge(findings, sets, params.audit)
    assert told["level"] == "nothing"
    assert re.search(r"Photos of one person in \d.\d\d % of the faces would", told["sentences"][1])
    assert "which are harder to find" in told["sentences"][1] and told["steps"][0].startswith("Keep this report")
    blind = judge(replace(findings, power=findings.power.assign(power=0.0)), sets, params.audit)
    named = {"people": findings.people.assign(is_flagged=True), "power": findings.power.assign(power=0.12)}
    limits = judge(replace(findings, **named), sets, params.audit)["limits"]
    assert limits[-1].startswith("Of planted people at most 12 % were named") and limits[-1].endswith("is not cleared.")
    limits = judge(replace(findings, people=named["people"]), sets, params.audit)["limits"]
    assert not any(limit.startswith("Of planted people") for limit in limits), "enough are found"
    assert blind["level"] == "unknown" and blind["steps"][0].startswith("Give more generated faces, more photos of each person")


def test_without_power_nothing_found_is_no_sign_of_safety(params):
    sets = make_audit(num_members=0, num_controls=12)
    told = judge(find_all(sets, params), sets, params.audit)
    assert told["level"] == "unknown" and "no sign of safety for any one of them" in told["sentences"][1]
    assert "9 comparison people are too few to name one of 20, whatever the faces show" in told["sentences"][0]
    resolution = "One person alone cannot be named: 9 comparison people give no p-value below 0.1, and at least 20 of the 20"
    assert told["limits"][0].startswith(resolution)
    assert told["steps"][0] == "Add control people until there are about 267. Fewer people do not help."
    sets = make_audit(num_members=0, num_controls=14)
    told = judge(find_all(sets, params), sets, params.audit)
    assert told["steps"][0].endswith("about 267. Or ask about one person, chosen before you look at any result.")


def test_one_planted_person_who_is_found_clears_nobody(quiet, params, tmp_path):
    sets, findings = quiet
    one = findings.power.assign(num_planted=1, num_found=1, power=1.0, low=0.025, high=1.0)
    content = write_report(replace(findings, power=one), sets, params, tmp_path)
    told = content["verdict"]
    assert told["level"] == "unknown" and "measured with 1 of the controls, too few to rely on" in told["sentences"][0]
    assert told["steps"][0].startswith("Give more photos of each control person than of your people")
    assert "1 control people could be planted" in (tmp_path / "report.html").read_text()
    assert content["least_share"] is None


def test_training_photos_that_score_higher_are_no_clean_result(quiet, params):
    """Before, their test stood in a table below the title "Nothing was found"."""
    sets, findings = quiet
    assert judge(findings, sets, params.audit)["level"] == "nothing"
    row = findings.groups[0] | {"group": "training", "auc": 0.7, "low": 0.6, "high": 0.8}
    for p_value, level in ((0.2, "nothing"), (0.01, "unknown")):
        own = replace(findings, groups=[findings.groups[0], row | {"p_value": p_value}])
        told = judge(own, sets, params.audit)
        assert told["level"] == level
    assert "training photos score higher than control people (AUC 0.70 [0.60, 0.80], p = 0.01)" in told["sentences"][0]
    assert told["steps"][0].startswith("Training photos may leak as they are")


def test_without_controls_there_are_no_p_values(params, tmp_path):
    sets = make_audit(num_controls=0)
    findings = find_all(sets, params)
    told = judge(findings, sets, params.audit)
    assert told["level"] == "unknown" and "there were no control people" in told["sentences"][0]
    assert findings.people.p_value.isna().all() and not findings.people.is_flagged.any()
    content = write_report(findings, sets, params, tmp_path)
    assert content["people"][0]["p_value"] is None


def test_one_person_can_be_audited(params):
    sets = make_audit(num_people=1, num_members=1, num_controls=60)
    findings = find_all(sets, params)
    assert findings.people.is_flagged.all() and findings.people.p_value[0] == pytest.approx(1 / 46)
    told = judge(findings, sets, params.audit)
    assert told["sentences"][0].startswith("The one person stands out against 45 of the 60 control people")


def test_people_whose_photos_are_sharper_are_not_trusted_and_get_matched_controls(params):
    sets = make_audit(sharp=2.0)
    findings = find_all(sets, params)
    assert list(findings.attributes.attribute[findings.attributes.differs]) == ["sharpness"]
    told = judge(findings, sets, params.audit)
    assert findings.doubt == "photos" and "differ from those of the controls in sharpness" in told["trust"]
    assert findings.matched["group"]["num_controls"] == len(findings.matched["controls"])
    assert (told["level"], findings.people.is_flagged.any()) == ("unknown", False), "five members, and nobody is named"
    assert "Choose controls whose photos are like those of the people" in told["steps"][0]


def test_strangers_who_stand_in_for_controls_name_nobody(params, tmp_path):
    sets = replace(make_audit(), stands_in=True)
    findings = find_all(sets, params)
    content = write_report(findings, sets, params, tmp_path)
    assert findings.people.q_value.min() < 0.1 and not findings.people.is_flagged.any()
    told = content["verdict"]
    assert told["level"] == "unknown" and "strangers stand in for control people" in told["sentences"][0]
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "stand out against" not in page and "Give <code>--controls</code>: photos of people" in page


def test_a_finding_that_holds_against_matched_controls_stays(params):
    sets = make_audit(num_controls=300)
    attributes = sets.faces["controls"].attributes
    attributes["sharpness"] += np.where(np.arange(len(attributes)) < 600, 6.0, 0.0)  # of half of the controls
    findings = find_all(sets, params)
    assert findings.attributes.differs.any() and findings.doubt == "" and not findings.matched["still_differs"]
    told = judge(findings, sets, params.audit)
    assert told["level"] in ("exposed", "group") and told["trust"] == ""
    assert any("were tested against the" in limit for limit in told["limits"])


@pytest.mark.parametrize(("num_members", "seed"), [(1, 1), (1, 2), (2, 4)])
def test_who_stands_out_against_all_controls_and_not_against_matched_ones_is_not_cleared(params, tmp_path, num_members, seed):
    sets = make_audit(num_members=num_members, num_people=5, num_controls=120, seed=seed)
    attributes = sets.faces["controls"].attributes
    attributes["sharpness"] += np.where(np.arange(len(attributes)) < 0.8 * len(attributes), 6.0, 0.0)
    findings = find_all(sets, params)
    assert findings.people.q_value.min() <= 0.1 and findings.matched["unconfirmed"] and findings.doubt == ""
    content = write_report(findings, sets, params, tmp_path)
    told = content["verdict"]
    assert told["level"] in ("unknown", "group") and "None of" not in told["sentences"][0], "it was: nothing was found"
    assert any("neither names nor clears" in limit for limit in told["limits"])
    assert not content["names_one"] and max(row["power"] for row in content["power"]) == 0, "nobody planted is named either"
    assert set(content["matched"]) >= {"num_controls", "num_flagged", "num_unconfirmed"}
    assert "unconfirmed" not in content["matched"], "no name of a person"


def test_a_group_that_only_all_controls_confirm_is_no_clean_result(params):
    sets = make_audit(num_members=0, num_controls=300)
    attributes = sets.faces["controls"].attributes
    attributes["sharpness"] += np.where(np.arange(len(attributes)) < 600, 6.0, 0.0)
    findings = find_all(sets, params)
    findings.people["is_flagged"] = False
    findings.groups[0]["p_value"], findings.matched["group"]["p_value"] = 0.001, 0.06
    told = judge(findings, sets, params.audit)
    assert told["level"] == "unknown" and "the group stood out, but not against the controls" in told["sentences"][0]
    assert "score higher than all controls" in told["sentences"][1]


def test_models_that_know_nobody_make_the_audit_unable_to_tell(params):
    sets = make_audit(num_members=0, num_controls=60)
    rng = np.random.default_rng(1)
    for name in ("people", "controls"):
        for model, vectors in sets.faces[name].vectors.items():
            sets.faces[name].vectors[model] = unit(rng.normal(size=vectors.shape))
    told = judge(find_all(sets, params), sets, params.audit)
    assert told["level"] == "unknown" and "no face recognition model tells these people apart" in told["sentences"][0]


def test_a_photo_among_the_generated_faces_is_a_copy(params):
    sets = make_audit(num_members=0, num_controls=60)
    smooth = np.linspace(0, 255, 16).astype(np.uint8)
    face = np.stack([np.add.outer(smooth // 2, smooth[::-1] // 2)] * 3) + np.eye(16, dtype=np.uint8) * 40
    people, generated = sets.faces["people"], sets.faces["generated"]
    people.thumbs[8], generated.thumbs[77] = face, face[:, :, ::-1]
    generated.vectors["one"][77] = people.vectors["one"][8]
    findings = find_all(sets, params)
    copies = findings.pairs[findings.pairs.is_copy]
    assert list(copies.photo) == [people.name[8]] and list(copies.generated) == [77], "mirrored, and found"
    told = judge(findings, sets, params.audit)
    assert told["level"] == "exposed"
    assert told["sentences"][0].startswith("Photos of 1 of 20 people lie among the generated faces")


@pytest.mark.parametrize("num_controls", [0, 60])
def test_a_training_photo_among_the_generated_faces_is_said_first(params, tmp_path, num_controls):
    """Before, 24 of 24 training photos came out, and the verdict was "nothing was found"."""
    sets, rng = make_audit(num_members=0, num_controls=num_controls), np.random.default_rng(2)
    vectors, identity, _ = draw_people(["Ida", "Ole", "Tor"], 2, rng)
    training = sets.faces["training"] = make_set(vectors, identity, rng)
    sets.sources["training"] = sets.sources["people"]
    generated = sets.faces["generated"]
    smooth = np.linspace(0, 255, 16).astype(np.uint8)
    training.thumbs[4] = np.stack([np.add.outer(smooth // 2, smooth[::-1] // 2)] * 3) + np.eye(16, dtype=np.uint8) * 40
    generated.thumbs[77], generated.vectors["one"][77] = training.thumbs[4], training.vectors["one"][4]
    findings = find_all(sets, params)
    told = write_report(findings, sets, params, tmp_path)["verdict"]
    assert (told["level"], told["title"]) == ("exposed", "Training photos come out")
    assert told["sentences"][0] == "1 of 6 training photos lie among the generated faces as pictures."
    assert told["steps"][0].startswith("Do not publish")
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    rows = page[page.index("The most similar pairs") :]
    assert rows.index(">yes</td>") < rows.index(">no</td>"), "copies come first, of whatever set"
    findings.people.loc[0, "num_copies"], findings.people.loc[1, "is_flagged"] = 1, True
    both = judge(findings, sets, params.audit)
    assert both["title"] == "People stand out" and both["sentences"][0] == (
        "1 of 6 training photos and photos of 1 of 20 people lie among the generated faces as pictures: these people can be "
        "recognised; 2 of 20 people stand out in all."
    )


def test_a_control_among_the_generated_faces_makes_p_values_worthless(params):
    sets = make_audit(num_members=0, num_controls=60)
    smooth = np.linspace(0, 255, 16).astype(np.uint8)
    controls, generated = sets.faces["controls"], sets.faces["generated"]
    controls.thumbs[8] = generated.thumbs[77] = np.stack([np.add.outer(smooth // 2, smooth // 3)] * 3)
    generated.vectors["one"][77] = controls.vectors["one"][8]
    told = judge(find_all(sets, params), sets, params.audit)
    assert told["trust"].startswith("Photos of 1 control people lie among the generated faces")
    assert told["level"] == "unknown"


def copy_photo(sets, name):
    """Let a photo of a person or of a control lie among the generated faces."""
    own, generated = sets.faces[name], sets.faces["generated"]
    smooth = np.linspace(0, 255, 16).astype(np.uint8)
    own.thumbs[8] = generated.thumbs[77] = np.stack([np.add.outer(smooth // 2, smooth // 3)] * 3)
    generated.vectors["one"][77] = own.vectors["one"][8]


def test_a_copy_is_told_where_there_are_no_controls(params):
    sets = make_audit(num_members=0, num_controls=0)
    copy_photo(sets, "people")
    told = judge(find_all(sets, params), sets, params.audit)
    assert told["level"] == "exposed"
    assert told["sentences"][1] == "Nobody else could be tested, since there were no control people to compare with."


def test_controls_that_differ_and_are_copied_are_both_told_and_listed(params, tmp_path):
    sets = make_audit(num_controls=60, sharp=9.0)
    copy_photo(sets, "controls")
    findings = find_all(sets, params)
    told = judge(findings, sets, params.audit)
    assert findings.doubt == "photos" and not findings.people.is_flagged.any()
    assert any(limit.startswith("Photos of 1 control people lie among the generated faces") for limit in told["limits"])
    write_report(findings, sets, params, tmp_path, key=True, date="2000-01-01")
    listed = pd.read_csv(tmp_path / "names.csv").set_index("person").identity
    assert listed["copied control 1"] == findings.copied_controls[0]


def test_controls_who_are_among_the_people_are_refused(params):
    sets = make_audit(num_controls=20)
    people, controls = sets.faces["people"], sets.faces["controls"]
    smooth = np.linspace(0, 255, 16).astype(np.uint8)
    people.thumbs[3] = controls.thumbs[9] = np.stack([np.add.outer(smooth // 2, smooth // 3)] * 3)
    controls.vectors["one"][9] = people.vectors["one"][3]
    with pytest.raises(ValueError, match=f"{people.name[3]}.*{controls.name[9]}.*are the same picture"):
        refuse_same_pictures(people, controls, "one", params.audit)
    with pytest.raises(ValueError, match="of --training and"):
        refuse_same_pictures(people, controls, "one", params.audit, option="--training")
    named = {"people": Source("", ["a"], None, None, ["Ada"]), "controls": Source("", ["b"], None, None, ["Ada"])}
    with pytest.raises(ValueError, match="'Ada' is a folder of --people and of --controls"):
        refuse_overlap(named)


def test_a_person_who_is_asked_about_does_not_stand_in_for_a_control(tmp_path, monkeypatch):
    for name, photo in itertools.product("abcdef", "12"):
        (tmp_path / "data" / "lfw" / name).mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (30, 30), "grey").save(tmp_path / "data" / "lfw" / name / f"{photo}.jpg")
    monkeypatch.setenv("PPE_SHARED", str(tmp_path))
    asked = {"people": Source("", ["1"], None, None, ["b"]), "training": Source("", ["1"], None, None, ["e"])}
    assert set(find_controls(tmp_path, 0, [], asked).identity) == set("acdf")
    assert set(find_controls(tmp_path, 0, [], {"people": asked["people"]}).identity) == set("acdef")


def test_photos_are_not_called_different_because_there_are_more_of_each_control():
    """The mean of five photos spreads less than one photo: before, a pool of people differed from itself in every second draw."""
    rng, found = np.random.default_rng(0), []

    def draw(count, photos):
        people = rng.normal(0, 0.5, (count, len(ATTRIBUTES))).repeat(photos, 0)
        values = pd.DataFrame(people + rng.normal(size=people.shape), columns=list(ATTRIBUTES))
        return SimpleNamespace(identity=np.array([f"{number:03}" for number in range(count)]).repeat(photos), attributes=values)

    for _ in range(40):
        averaged = average_attributes(draw(20, 1), draw(100, 5), 0.8, 1)
        assert set(averaged["controls"].num_photos) == {1} and len(averaged["controls"]) == 100
        found.append(compare_attributes(averaged["people"], averaged["controls"], 0.05).differs.any())
    assert np.mean(found) <= 0.15
    averaged = average_attributes(draw(20, 4), draw(100, 5), 0.8, 1)
    assert set(averaged["people"].num_photos) == {4}


def test_one_person_can_be_named_only_if_enough_controls_have_as_many_photos(params):
    few = SimpleNamespace(num_controls=202, matched={}, people=pd.DataFrame({"num_controls": [202] * 19 + [173]}))
    rules = params.audit
    assert not names_one(few, rules), "20 x 1 / 174 is above 0.1"
    assert names_one(SimpleNamespace(num_controls=202, matched={}, people=pd.DataFrame({"num_controls": [202] * 20})), rules)
    said = _limit_names(20, few, rules)[0]
    assert said.startswith("One person alone cannot be named: 173 comparison people, with as many photos,")


def test_a_copy_that_the_hash_alone_finds_has_its_own_cosine(params):
    faces = make_audit(num_controls=20).faces
    people, generated = faces["people"], faces["generated"]
    pairs = find_pairs(people, generated, "one", copy_cosine=0.5, same_picture=0.95)
    hashed = pd.DataFrame({"hash_other": 7, "hash_correlation": 0.99, "is_hash_copy": np.arange(len(people)) == 3})
    row = replace_pairs(pairs, hashed, people, generated, "one").loc[3]
    assert row.other == 7 and row.is_copy and row.correlation == 0.99 and pairs.other[3] != 7
    assert row.cosine == pytest.approx(float(people.vectors["one"][3] @ generated.vectors["one"][7]), abs=1e-6)


def test_the_page_loads_nothing_and_hides_names_and_faces(leaking, params, tmp_path):
    sets, findings = leaking
    content = write_report(findings, sets, params, tmp_path, date="2000-01-01")
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    rest = re.sub(r"base64,[A-Za-z0-9+/=]+", "", page)
    assert not re.search(r"<script|<link|https?://|url\(|@import|<iframe", rest)
    everything = page + "".join(file.read_text() for file in tmp_path.glob("*.csv")) + (tmp_path / "report.json").read_text()
    assert "Åsa" not in everything and "Ørsted" not in everything and "image/png" not in page
    assert not (tmp_path / "names.csv").exists()
    people = pd.read_csv(tmp_path / "people.csv")
    assert list(people.person[:2]) == ["person 1", "person 2"] and len(people) == 21
    assert people.result.iloc[-1] == "no face found", "nobody is dropped in silence"
    assert "Not tested, since none of their photos could be used (misses.csv says why): person 21" in page
    assert json.loads((tmp_path / "report.json").read_text()) == json.loads(json.dumps(content))
    assert (content["schema"], content["verdict"]["level"]) == (1, "exposed")


def test_names_a_key_and_faces_are_written_where_asked(leaking, params, tmp_path):
    sets, findings = leaking
    write_report(findings, sets, params, tmp_path, names=True, key=True, show_faces=True, date="2000-01-01")
    assert pd.read_csv(tmp_path / "people.csv").person[0].startswith("Åsa")
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert page.count("data:image/png") == 2 * 12 and "Åsa" in page
    assert set(pd.read_csv(tmp_path / "names.csv").identity) >= {"Åsa 00", "Ørsted"}


def test_the_same_audit_gives_the_same_report(leaking, params, tmp_path):
    sets, findings = leaking
    for name in ("one", "two"):
        write_report(findings, sets, params, tmp_path / name, date="2000-01-01")
    for file in (tmp_path / "one").iterdir():
        assert file.read_bytes() == (tmp_path / "two" / file.name).read_bytes(), file.name


def test_every_level_has_a_name():
    assert set(verdict.LEVELS) == {"exposed", "group", "nothing", "unknown"}
