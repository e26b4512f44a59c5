"""The drawn sample: a few dozen pictures of a dozen people, the same ones every time."""

import subprocess
import sys

import numpy as np
import pytest
from conftest import REPOSITORY
from PIL import Image


def start(folder):
    command = [sys.executable, REPOSITORY / "scripts" / "draw_sample.py", "--output", folder, "--quiet"]
    return subprocess.Popen(command, env={"PYTHONPATH": str(REPOSITORY)})


def drawn(folder):
    names = (folder / "faces.txt").read_text().splitlines()
    labels = [int(line) for line in (folder / "labels.txt").read_text().splitlines()]
    pictures = [np.asarray(Image.open(folder / name).convert("RGB")) for name in names]
    return pictures, labels


@pytest.fixture(scope="module")
def samples(tmp_path_factory):
    folders = [tmp_path_factory.mktemp("sample") for _ in range(2)]
    processes = [start(folder) for folder in folders]
    assert [process.wait(120) for process in processes] == [0, 0]
    return list(map(drawn, folders))


@pytest.fixture
def sample(samples):
    return samples[0]


@pytest.mark.slow
def test_a_few_dozen_pictures_of_a_dozen_people(sample):
    pictures, labels = sample
    assert len(pictures) == len(labels) >= 36
    assert sorted(set(labels)) == list(range(12))
    assert min(map(labels.count, range(12))) >= 2
    assert {picture.shape for picture in pictures} == {(112, 112, 3)}


@pytest.mark.slow
def test_no_two_pictures_are_alike_and_their_light_varies(sample):
    pictures, labels = sample
    assert len({picture.tobytes() for picture in pictures}) == len(pictures)
    brightness = np.array([picture.mean() for picture in pictures])
    for person in range(12):
        assert np.ptp(brightness[np.array(labels) == person]) > 3


@pytest.mark.slow
def test_eyes_stand_where_the_template_has_them(sample):
    # In the mean of all pictures the pupils are dark spots above lighter skin.
    pictures, _ = sample
    grey = np.mean([picture.mean(axis=2) for picture in pictures], axis=0)
    for x, y in ((38, 52), (73, 52)):
        pupil, lid = grey[y - 1 : y + 2, x - 1 : x + 2].mean(), grey[y + 9 : y + 12, x - 1 : x + 2].mean()
        assert pupil < lid - 20


@pytest.mark.slow
def test_the_same_seed_draws_the_same_pixels(samples):
    (pictures, labels), (again, labels_again) = samples
    assert labels == labels_again
    assert all(map(np.array_equal, pictures, again))
