"""The identity of data: what does not depend on the processor is held, and whatever else moves is named in one line."""

import hashlib
import os
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest

from omac.cli import main
from omac.data.episodes import Episodes
from omac.data.validation import DataError
from omac.datasets import digest as digests
from omac.datasets import registry
from omac.datasets.digest import REWARD_UNITS, DataDiffers, compare, describe, hold, of, read, write

ACCEPT = "dvc repro -f pull@toy-line-random"


@pytest.fixture
def file(toy, tmp_path):
    return write(of(toy), tmp_path / "toy-line-random.txt")


def changed(data, name, change):
    """The data with a copy of one array, changed in place by `change`."""
    x = getattr(data, name).copy()
    change(x)
    return replace(data, **{name: x})


def put(place, value):
    """A change for `changed`: value(x[place]) in place of x[place]."""

    def change(x):
        x[place] = value(x[place])

    return change


def error_of(data, file, **arguments):
    """The one line that `hold` raises."""
    with pytest.raises(DataDiffers) as caught:
        hold(data, file, "toy-line-random", ACCEPT, **arguments)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def tiny():
    """Two episodes of two steps and one, written out by hand."""
    return Episodes(
        obs=np.arange(20, dtype=np.float32).reshape(5, 2, 2),
        state=np.arange(15, dtype=np.float32).reshape(5, 3),
        avail=np.ones((5, 2, 3), bool),
        action=np.array([[0, 1], [2, 0], [1, 1]], np.int16),
        reward=np.array([0.5, 10.25, 1 / 3], np.float32),
        terminated=np.array([False, True, False]),
        truncated=np.array([False, False, True]),
        start=np.array([0, 2, 3]),
        win=np.array([True, False]),
        id=np.array([0, 1]),
        policy=np.array([0, 0], np.int32),
        about={"env": "toy", "seed": 0, "versions": {"numpy": "2.4.6"}, "policies": ["a"], "note": "words"},
    )


def test_the_digest_of_known_data_is_the_same_on_every_machine():
    digest = of(tiny())
    assert digest.sha256 == "a4b8c2fc202396291062f8baaf55a93deb5b77cc38c4207bbf76d6bd6fc8fd73"
    assert digest.episodes == ("c548b8a2", "503e84d3")
    assert digest.sizes == {"episodes": 2, "steps": 3, "n": 2, "O": 2, "S": 3, "A": 3}
    assert digest.provenance == {"env": "toy", "policies": ["a"], "seed": 0, "versions": {"numpy": "2.4.6"}}


@pytest.mark.parametrize("key", ["note of mine", "origin", "simulator"])
@pytest.mark.parametrize("value", [float("nan"), float("-inf"), {"a": [1, {"b": float("inf")}]}])
def test_an_attribute_with_a_number_that_is_not_finite_is_named(key, value, toy, tmp_path, capsys):
    """It equals nothing, itself neither, so that such data would be made anew for ever."""
    file = tmp_path / "toy.h5"
    replace(toy, about={**toy.about, key: value if key != "origin" else {"files": value}}).save(file)
    for command in ("check", "card"):
        assert main([command, str(file)]) == 1
        said = capsys.readouterr().err
        assert f"toy.h5: attribute {key}: a number that is not finite, in " in said and said.count("\n") == 1
    with pytest.raises(DataError, match=f"toy-line-random: attribute {key}: a number that is not finite"):
        registry.identify(Episodes.load(file), "toy-line-random", tmp_path, made=True)


def test_an_id_that_two_episodes_have_is_named(toy, tmp_path, capsys):
    """Of one that is unknown, both would count as that; and a sample would be taken for a larger one."""
    replace(toy, id=np.r_[7, toy.id[1:]], about={**toy.about, "sample_of": 300, "sample_seed": 0, "parent": "p"}).save(
        tmp_path / "toy.h5"
    )
    assert main(["check", str(tmp_path / "toy.h5")]) == 1
    assert "toy.h5: id: 2 episodes have the id 7 (likely cause: files joined twice" in capsys.readouterr().err
    with pytest.raises(DataError, match="toy-line-random: id: 2 episodes have the id 7"):
        of(Episodes.load(tmp_path / "toy.h5"))


def test_the_digest_does_not_depend_on_the_width_of_integers():
    data = tiny()
    wide = replace(data, action=data.action.astype(np.int64), id=data.id.astype(np.int32))
    assert of(wide) == of(data)


def test_last_bits_of_observations_and_words_do_not_change_the_digest(toy, file):
    rng = np.random.default_rng(0)
    noisy = {
        k: getattr(toy, k) + rng.normal(0, 1e-6, getattr(toy, k).shape).astype(np.float32) for k in ("obs", "state")
    }
    about = {**toy.about, "note": "another word", "policy_returns": [1.0], "origin": {"address": "elsewhere"}}
    data = replace(toy, **noisy, about=about)
    assert not np.array_equal(data.obs, toy.obs)
    assert hold(data, file, "toy-line-random", ACCEPT).sha256 == of(toy).sha256 == read(file).sha256


CHANGES = {
    "action": (lambda x: (x + 1) % 3, "length or actions"),
    "avail": (lambda x: ~x, "available actions"),
    "reward": (lambda x: x + np.float32(0.001), "rewards"),
    "terminated": (lambda x: ~x, "flags or labels"),
    "truncated": (lambda x: ~x, "flags or labels"),
    "win": (lambda x: ~x, "flags or labels"),
    "id": (lambda x: x + 300, "flags or labels"),
    "policy": (lambda x: x + 1, "flags or labels"),
}


@pytest.mark.parametrize("name", CHANGES)
@pytest.mark.parametrize("episode", [0, 137, 299])
def test_one_changed_value_is_found_with_its_episode_and_field(toy, file, name, episode):
    value, field = CHANGES[name]
    row = {"avail": toy.start[episode + 1] + episode, "win": episode, "id": episode, "policy": episode}
    place = row.get(name, toy.start[episode + 1] - 1)  # the last step; of avail the row after it
    place = (place, 1) if name == "action" else (place, 1, 2) if name == "avail" else place
    said = error_of(changed(toy, name, put(place, value)), file)
    assert f"episode {episode} of 300 differs in {field};" in said


def test_a_change_that_no_digits_show_is_still_found(toy):
    digest = of(toy)
    other = replace(digest, battles="0" * 64)
    (difference,) = compare(other, digest)
    assert difference[:2] == ("battles", "sha256") and "no episode" in describe([difference], digest)


def test_episodes_that_changed_places_are_found(toy, file):
    order = np.arange(300)
    order[[41, 200]] = 200, 41
    data = replace(toy.select(order), id=toy.id)
    said = error_of(data, file)
    assert "episode 41 of 300" in said and "and so do 1 more" in said


def test_missing_episodes_are_found_with_both_sizes(toy, file):
    said = error_of(toy.select(np.arange(299)), file)
    assert "episodes is 299, recorded 300" in said


def test_a_shifted_feature_is_found_and_named(toy, file):
    for name, feature in (("obs", 2), ("state", 7)):
        shift = np.float32(0.01 * getattr(toy, name)[..., feature].std())
        data = changed(toy, name, put((..., feature), lambda x, shift=shift: x + shift))
        said = error_of(data, file)
        assert f"of {name} " in said and f"feature {feature} were shifted by +{shift:.2g}" in said
        assert "all 300 battles are equal" in said and "only" not in said


@pytest.mark.parametrize("name", ["obs", "state"])
def test_any_two_features_that_change_places_are_found(toy, name):
    digest, x = of(toy), getattr(toy, name)
    for i in range(x.shape[-1]):
        for j in range(i):
            order = np.arange(x.shape[-1])
            order[[i, j]] = j, i
            moved = x[..., order]
            found = compare(of(replace(toy, **{name: moved})), digest)
            assert bool(found) != np.array_equal(moved, x)


def test_agents_that_change_places_in_the_observations_are_found(toy, file):
    assert "agents changed places" in error_of(replace(toy, obs=toy.obs[:, ::-1]), file)


def test_a_scaled_feature_is_found(toy, file):
    centred = toy.obs[..., 0] - toy.obs[..., 0].mean()
    data = changed(toy, "obs", put((..., 0), lambda x: x + np.float32(0.01) * centred))
    assert "std of the projections of obs" in error_of(data, file)


def test_where_the_versions_alone_differ_the_error_says_so(toy, tmp_path):
    locked, newer = (
        replace(toy, about={**toy.about, "versions": {"jax": "0.10.2", "numpy": v}}) for v in ("2.4.6", "2.4.7")
    )
    file = write(of(locked), tmp_path / "digest.txt")
    said = error_of(newer, file)
    assert "all 300 battles are equal, only the versions differ" in said
    assert 'versions.numpy is "2.4.7", recorded "2.4.6"' in said and "jax" not in said


def test_any_other_attribute_is_provenance_too(toy, file):
    data = replace(toy, about={**toy.about, "seed": 1, "jax": {"jax_enable_x64": True}, "policies": ["other"]})
    said = error_of(data, file)
    assert "seed is 1, recorded 0" in said and 'policies.0 is "other", recorded "random"' in said
    assert 'jax.jax_enable_x64 is true, recorded "nothing"' in said
    assert "all 300 battles are equal" in said and "only" not in said


def test_an_error_lists_the_versions_first_and_few_of_many_attributes(toy, tmp_path):
    old, new = (
        replace(toy, about={**toy.about, "policies": [f"{k}-{i}" for i in range(20)], "versions": {"jax": k}})
        for k in ("a", "b")
    )
    said = error_of(new, write(of(old), tmp_path / "digest.txt"))
    assert 'versions.jax is "b", recorded "a"; policies.0 is "b-0", recorded "a-0"' in said
    assert said.count(", recorded ") == digests.LISTED and "and so on for 15 more" in said


def test_equal_provenance_is_said_where_battles_differ(toy, tmp_path):
    data = replace(toy, about={**toy.about, "versions": {"jax": "0.10.2"}})
    file = write(of(data), tmp_path / "digest.txt")
    said = error_of(changed(data, "win", put(0, np.logical_not)), file)
    assert "both name the same provenance, seed 0 and jax 0.10.2" in said


def test_a_sample_carries_its_parent_and_another_parent_is_found(toy, tmp_path):
    parent, other = of(toy).sha256, of(tiny()).sha256
    sample = toy.select(np.arange(50, 90), sample_seed=0, sample_of=300)
    digest = of(sample, parent)
    assert digest.provenance["parent"] == parent and digest.provenance["sample_of"] == 300
    named = replace(sample, about={**sample.about, "parent": parent})
    assert of(named) == of(named, parent) == digest
    file = write(digest, tmp_path / "sample.txt")
    assert f'parent is "{other}", recorded "{parent}"' in error_of(sample, file, parent=other)
    assert f'parent is "nothing", recorded "{parent}"' in error_of(sample, file)
    with pytest.raises(ValueError, match="draw it again"):
        of(named, other)


def test_the_error_names_the_data_set_the_file_and_both_remedies(toy, file):
    said = error_of(changed(toy, "win", put(0, np.logical_not)), file)
    assert said.startswith("toy-line-random is not the data set of ") and str(file) in said
    assert "requirements.txt" in said and f"`{ACCEPT}`" in said


def test_a_digest_comes_back_from_its_text_whole(toy, file):
    assert read(file) == of(toy) and compare(read(file), of(toy)) == []
    lines = file.read_text().splitlines()
    assert lines[0] == f"sha256: {of(toy).sha256}" and 'provenance.env: "toy"' in lines
    episodes = lines[lines.index("episodes:") + 1 : -1]
    assert len(episodes) == 30 and max(map(len, episodes)) <= 120
    again = write(of(toy), file.with_name("again.txt"))
    assert again.read_bytes() == file.read_bytes()


def test_an_equal_digest_leaves_the_file_untouched_and_another_replaces_it(toy, file):
    os.utime(file, ns=(1, 1))
    moved = of(toy).moments["obs mean"]
    noisy = replace(of(toy), moments={**of(toy).moments, "obs mean": [x + 1e-6 for x in moved]})
    before = file.read_bytes()
    for digest in (of(toy), noisy):
        write(digest, file)
        assert file.read_bytes() == before and file.stat().st_mtime_ns == 1
    other = of(toy.select(np.arange(9)))
    write(other, file)
    assert read(file) == other and os.listdir(file.parent) == [file.name]


@pytest.mark.slow
def test_a_flipped_bit_in_any_byte_of_a_digest_file_is_found(tmp_path):
    file = write(of(tiny()), tmp_path / "tiny.txt")
    content = file.read_bytes()
    for at, byte in enumerate(content):
        file.write_bytes(content[:at] + bytes([byte ^ 1 << at % 8]) + content[at + 1 :])
        with pytest.raises(DataError, match="git checkout -- "):
            read(file)
    write(of(tiny()), file)
    assert file.read_bytes() == content


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\n",
        b"episodes:\n",
        b"sha256\nepisodes:\n",
        b"\x89HDF",
        "ä".encode(),
        b"sizes.n: 1\nepisodes:\nab\nchecksum: 0\n",
    ],
)
def test_a_file_that_is_no_digest_is_refused_in_one_line(tmp_path, content):
    file = tmp_path / "digest.txt"
    file.write_bytes(content)
    with pytest.raises(DataError, match=r"^[^\n]*digest.txt: checksum: [^\n]*git checkout -- [^\n]*$"):
        read(file)


def test_a_file_with_a_right_checksum_and_no_digest_is_refused(tmp_path):
    file = tmp_path / "digest.txt"
    for body in ("sha256: 1\nepisodes:\n", "sha256: 1\nbattles: 2\nsizes.n: 3\nepisodes:\n00000000\n"):
        file.write_text(f"{body}checksum: {hashlib.sha256(body.encode()).hexdigest()}\n")
        with pytest.raises(DataError, match="git checkout -- "):
            read(file)


def test_a_digest_file_that_is_not_there_is_an_error_in_one_line(toy, tmp_path):
    for path in (tmp_path / "none.txt", tmp_path):
        with pytest.raises(DataError, match=r"^[^\n]+git checkout -- [^\n]+$"):
            hold(toy, path, "toy-line-random", ACCEPT)


# map: full health of each enemy, damage of our units (SMAX's tables; corridor's zealot hits for 16)
BATTLES = {
    "5m_vs_6m": ([45] * 6, [9]),
    "6h_vs_8z": ([150] * 8, [12]),
    "3s5z_vs_3s6z": ([160] * 3 + [150] * 6, [13, 8]),
    "corridor": ([35] * 24, [16]),
}


@pytest.mark.parametrize("map_name", BATTLES)
def test_smax_rewards_stay_far_from_where_rounding_turns(map_name):
    full, hits = BATTLES[map_name]
    rng = np.random.default_rng(0)
    for _ in range(2000):
        lost = [int(min(h, rng.choice(hits) * rng.integers(0, 4), rng.integers(1, h + 1))) for h in full]
        won = int(rng.integers(2))
        exact = Fraction(10 * sum(Fraction(a, b) for a, b in zip(lost, full, strict=True)) / len(full) + 10 * won)
        shares = np.array(lost, np.float32) / np.array(full, np.float32)
        for order in (shares, shares[::-1], np.sort(shares)):
            total = np.float32(0)
            for x in order:  # single precision throughout, as the simulator computes it
                total = total + x
            reward = np.float32(10) * (total / np.float32(len(full)) + np.float32(won))
            assert abs(float(reward) * REWARD_UNITS - exact * REWARD_UNITS) < 0.1
        assert (exact * REWARD_UNITS).denominator == 1


def test_a_reward_is_told_apart_from_one_a_thousandth_away():
    assert 0.001 * REWARD_UNITS > 1


def test_every_feature_counts_in_every_projection():
    w = digests._directions("obs", 800)
    assert w.shape == (800, digests.PROJECTIONS) and (np.abs(w) >= 0.5).all() and (np.abs(w) <= 1.5).all()
    assert len(np.unique(w, axis=0)) == 800
    np.testing.assert_array_equal(w[:50], digests._directions("obs", 50))


def test_a_deleted_digest_of_smax_in_data_is_an_error_unless_the_data_were_just_made(toy, tmp_path, monkeypatch):
    """Else whatever lies on the disk would be taken for the data set, and the cells trained on it for the study's."""
    monkeypatch.setattr(registry, "ROOT", tmp_path)
    folder = tmp_path / "data"
    for name, stage in (("smax-6h_vs_8z-poor", "pull"), ("smax-6h_vs_8z-poor-100", "subsample")):
        path = registry.digest_path(name, folder)
        registry.identify(toy, name, folder, made=True)
        registry.identify(toy, name, folder)
        path.unlink()
        remedy = f"git checkout -- {path}`, or make the data set anew with `dvc repro -f {stage}@{name}`"
        with pytest.raises(DataError, match=f"does not exist.*deleted: restore it with `{remedy}"):
            registry.identify(toy, name, folder)
        assert not path.exists()
    for name, other in (("cfcql-3m-good", folder), ("smax-6h_vs_8z-poor", folder / "smoke")):
        registry.identify(toy, name, other)  # no stage watches these
        assert registry.digest_path(name, other).exists()
