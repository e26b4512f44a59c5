"""The report's page in a real browser, opened from disk: looked through, corrected, saved, kept."""

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from conftest import HOSTILE, REPOSITORY, draw_images
from PIL import Image

from pipeline.corrections.said import Corrections
from pipeline.files.clusters import read_clusters
from pipeline.files.features import Features
from pipeline.files.filelist import FileList
from pipeline.groups import groups_from_labels, labels_from_groups
from pipeline.report import data as shown
from pipeline.report.checks import Inspection
from pipeline.report.html import write_report
from pipeline.report.thumbnails import thumbnail_place
from pipeline.rows import Numbering

pytestmark = pytest.mark.browser
sync_api = pytest.importorskip("playwright.sync_api")
OPTIONS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"]


@pytest.fixture(scope="module")
def browser():
    """The installed Chromium; skipped where absent, but not in CI."""
    program = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if program is None:
        reason = "chromium is not installed: the page's tests drive it (apt-get install chromium)"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=OPTIONS)
        yield browser
        browser.close()


@pytest.fixture
def page(browser):
    """A page in which nothing may go wrong unseen: no error, no request but of files, no dialog."""
    context = browser.new_context(viewport={"width": 1280, "height": 900}, accept_downloads=True)
    page = context.new_page()
    wrong = []
    page.on("console", lambda message: wrong.append(message.text) if message.type != "log" else None)
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("dialog", lambda dialog: (wrong.append(f"dialog {dialog.message}"), dialog.dismiss()))
    page.on(
        "request",
        lambda request: (
            None if request.url.startswith(("file:", "data:", "blob:")) else wrong.append(request.url)
        ),
    )
    yield page
    context.close()
    assert wrong == []


@pytest.fixture(scope="module")
def reported_once(made_once, tmp_path_factory):
    """A copy of `made_once` with images, hostile names among them, and its report."""
    folder = tmp_path_factory.mktemp("reported") / "work"
    shutil.copytree(made_once, folder)
    draw_images(folder)
    subprocess.run([sys.executable, REPOSITORY / "report.py", "--quiet"], cwd=folder, check=True)
    return folder


@pytest.fixture
def reported(reported_once, tmp_path, monkeypatch):
    """A copy of `reported_once` as the working directory."""
    work = tmp_path / "work"
    shutil.copytree(reported_once, work)
    monkeypatch.chdir(work)
    return work


def open_report(page, folder, view=""):
    page.goto("about:blank")  # from #one to #other of the same page nothing would be loaded
    page.goto(f"{(folder / 'report' / 'index.html').as_uri()}{view}")
    page.wait_for_selector("html[data-ready]")


def cards(page):
    return [int(card.get_attribute("data-cluster")) for card in page.locator(".card").all()]


def lines(path="clusters.txt"):
    return [list(map(int, line.split())) for line in Path(path).read_text().splitlines()]


def focused(page):
    return page.evaluate("document.activeElement.dataset.key ?? document.activeElement.id")


def brightness(page):
    """Of the background's red, 0 to 255."""
    return int(page.evaluate("getComputedStyle(document.body).backgroundColor.match(/[0-9]+/)[0]"))


def save(page):
    with page.expect_download() as download:
        page.locator(".pending [data-do=save]").click()
    download.value.save_as("corrections.json")
    return json.loads(Path("corrections.json").read_text(encoding="utf-8"))


def test_a_card_a_person_with_size_confidence_and_thumbnails(reported_once, page):
    open_report(page, reported_once)
    clusters = read_clusters(reported_once / "clusters.txt")
    assert cards(page) == np.flatnonzero(clusters.sizes > 1).tolist()[:40]
    first = page.locator(".card").first
    assert first.locator("h2").inner_text() == "Person 1"
    assert f"{clusters.sizes[0]} faces" in first.inner_text() and "predicted IoU" in first.inner_text()
    assert first.locator("ul.faces img").count() == clusters.sizes[0]
    first.locator("ul.faces img").first.evaluate("image => image.decode()")
    assert first.locator("ul.faces img").first.evaluate("image => image.naturalWidth") == 40
    assert first.locator("ul.faces img").first.get_attribute("loading") == "lazy"
    assert first.get_by_text("Fit least").count() == 1
    assert first.get_by_text("Might be the same person").count() == 1


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_names_are_text_and_found_by_search(reported_once, page, name):
    open_report(page, reported_once)
    page.locator("#search").fill(name)
    page.wait_for_function("document.getElementById('found').textContent.includes('match')")
    view = "people"
    if not cards(page):
        page.locator("nav a[href='#alone']").click()
        view = "alone"
        page.wait_for_function("document.getElementById('list-title').textContent === 'Seen once'")
        page.locator("#search").fill(name)
        page.wait_for_selector(".card")
    assert len(cards(page)) == 1, view
    page.locator(".card ul.faces button.face").first.click()
    shown = page.locator("#face")
    assert name.split("/")[-1] in shown.locator("h2").text_content()
    link = shown.get_by_text("Open the image").evaluate(
        "link => decodeURIComponent(new URL(link.href).pathname)"
    )
    assert link == str(reported_once / "images" / name)
    assert page.locator("script").count() == 3  # report.js, index.js and the one shard


def test_search_and_sort(reported_once, page):
    open_report(page, reported_once)
    sizes = read_clusters(reported_once / "clusters.txt").sizes
    iou = json.loads((reported_once / "clusters.json").read_text())["predicted_iou"]
    people = np.flatnonzero(sizes > 1).tolist()
    for sort, key in {
        "largest": lambda cluster: (-sizes[cluster], cluster),
        "smallest": lambda cluster: (sizes[cluster], cluster),
        "doubtful": lambda cluster: (iou[cluster], cluster),
        "confident": lambda cluster: (-iou[cluster], cluster),
    }.items():
        page.locator("#sort").select_option(sort)
        page.wait_for_timeout(50)
        assert cards(page) == sorted(people, key=key)
    row = lines(reported_once / "clusters.txt")[5][0]
    page.locator("#search").fill(f"{row}.JPG")
    page.wait_for_function("document.getElementById('found').textContent.includes('match')")
    assert 5 in cards(page)
    page.locator("#search").fill("person 7")
    page.wait_for_function("document.querySelectorAll('.card').length === 1")
    assert cards(page) == [6]
    page.locator("#search").fill("no such name")
    page.wait_for_function("document.getElementById('found').textContent.startsWith('0 people')")


def test_the_keyboard_reaches_everything_and_keeps_its_place(reported_once, page):
    open_report(page, reported_once)
    page.keyboard.press("/")
    assert focused(page) == "search"
    page.keyboard.press("Tab")
    assert focused(page) == "sort"
    page.keyboard.press("Tab")
    assert focused(page) == "name 0"
    page.keyboard.press("Tab")
    faces = [
        face.get_attribute("data-key") for face in page.locator(".card").first.locator("ul.faces .face").all()
    ]
    assert focused(page) == faces[0]
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    assert focused(page) == faces[2]
    outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
    assert outline != "none"
    page.keyboard.press("Enter")
    assert page.locator("#face").is_visible()
    page.keyboard.press("ArrowRight")
    page.locator("#face [data-key='face out']").focus()
    page.keyboard.press("Enter")
    page.wait_for_selector("#face .joined")
    assert focused(page) == "face out"
    page.keyboard.press("Escape")
    assert not page.locator("#face").is_visible()
    # The browser tells of the close, upon which the focus goes back, a moment after it.
    page.wait_for_function("key => document.activeElement.dataset.key === key", arg=faces[2])
    assert focused(page) == faces[2]
    page.keyboard.press("Tab")
    page.keyboard.press("Tab")  # past the picture of the worst face
    before = focused(page)
    assert before.startswith("out ")
    page.keyboard.press("Space")
    page.wait_for_function("document.getElementById('said-count').textContent === '2'")
    assert focused(page) == before
    assert page.locator(f"[data-key='{before}']").get_attribute("aria-pressed") == "true"


def test_every_control_has_a_name(reported_once, page):
    for view in ("#people", "#alone", "#unreadable", "#charts", "#corrections"):
        open_report(page, reported_once, view)
        nameless = page.evaluate(
            """() => [...document.querySelectorAll('button, a, input, select, img:not([alt=""])')]
              .filter((one) => one.offsetParent && !one.closest('[aria-hidden=true]'))
              .filter((one) => !(one.ariaLabel || one.textContent.trim() || one.labels?.length || one.alt))
              .map((one) => one.outerHTML)"""
        )
        assert nameless == []
        assert page.locator("h1:visible").count() == 1
        assert page.locator("nav [aria-current=page]").get_attribute("href") == view


def test_views_of_faces_alone_unreadable_images_and_charts(reported_once, page):
    open_report(page, reported_once, "#alone")
    sizes = read_clusters(reported_once / "clusters.txt").sizes
    assert sorted(cards(page)) == np.flatnonzero(sizes == 1).tolist()
    page.locator("nav a[href='#unreadable']").click()
    page.wait_for_selector("#unreadable-rows td")
    assert "its feature is zeros" in page.locator("#unreadable-rows").inner_text()
    page.locator("nav a[href='#charts']").click()
    page.wait_for_selector(".charts img")
    for chart in page.locator(".charts img").all():
        chart.scroll_into_view_if_needed()
        chart.evaluate("image => image.decode()")
        assert chart.evaluate("image => image.naturalWidth") > 300


@pytest.mark.parametrize("width", [390, 1280])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_no_view_is_wider_than_the_screen_and_colours_follow_the_system(reported_once, page, width, scheme):
    page.set_viewport_size({"width": width, "height": 844})
    page.emulate_media(color_scheme=scheme)
    for view in ("#people", "#alone", "#unreadable", "#charts", "#corrections"):
        open_report(page, reported_once, view)
        assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert (brightness(page) > 128) == (scheme == "light")
    page.locator("#theme").click()  # light
    page.locator("#theme").click()  # dark
    assert brightness(page) < 128
    page.reload()
    assert page.evaluate("document.documentElement.dataset.theme") == "dark"


def test_corrections_are_saved_and_respected_by_the_next_run(reported, page, stage):
    open_report(page, reported)
    before = lines()
    cards_ = page.locator(".card")
    cards_.nth(0).locator("input.name").fill('Zoë <b>"quoted"</b>')
    page.keyboard.press("Enter")
    page.wait_for_function("document.getElementById('said-count').textContent === '1'")
    same = cards_.nth(1).locator("[data-key^='same 1 ']").first
    other = int(same.get_attribute("data-key").split()[2])
    same.click()
    page.wait_for_function("document.getElementById('said-count').textContent === '2'")
    out = cards_.nth(2).locator("[data-key^='out ']").first
    face = int(out.get_attribute("data-key").split()[1])
    out.click()
    page.wait_for_function("document.getElementById('said-count').textContent === '3'")
    assert "is not Person 3" in page.locator("#pending-text").inner_text()
    said = save(page)
    assert not page.locator("#pending").is_visible()
    name = 'Zoë <b>"quoted"</b>'
    by_name = {person["name"]: person["parts"] for person in said["people"]}
    assert sorted(by_name[name][0]) == before[0]
    assert sorted(sum(by_name[None], [])) == sorted(before[1] + before[other])
    assert [(pair["face"], sorted(pair["person"])) for pair in said["apart"]] == [
        (face, [row for row in before[2] if row != face])
    ]

    assert stage("predict", "--corrections", "corrections.json").code == 0
    after = labels_from_groups(read_clusters(Path("clusters.txt")), 202)
    assert len(set(after[before[1] + before[other]].tolist())) == 1
    assert after[face] not in after[[row for row in before[2] if row != face]]
    assert json.loads(Path("clusters.json").read_text())["names"][after[before[0][0]]] == name

    assert stage("report").code == 0
    open_report(page, reported, f"#person-{after[before[0][0]] + 1}")
    assert page.locator(f"#person-{after[before[0][0]] + 1} h2").inner_text() == name
    assert not page.locator("#pending").is_visible()
    page.locator("nav a[href='#corrections']").click()
    page.wait_for_selector("#said li")
    assert page.locator("#said li").count() == 3
    assert stage("export", "--to", "csv").code == 0
    assert f",{name}".replace('"', '""') in Path("export.csv").read_text().replace(',"', ",")


def test_corrections_can_be_undone_and_outlive_a_reload(reported_once, page):
    open_report(page, reported_once)
    count = page.locator("#said-count")
    page.locator(".card").nth(3).locator("input.name").fill("Anna")
    page.keyboard.press("Enter")
    page.wait_for_function("document.getElementById('said-count').textContent === '1'")
    page.locator(".card").nth(3).locator("[data-key^='out ']").first.click()
    page.wait_for_function("document.getElementById('said-count').textContent === '2'")
    page.reload()
    page.wait_for_selector("html[data-ready]")
    assert count.inner_text() == "2" and page.locator(".card").nth(3).locator("h2").inner_text() == "Anna"
    page.locator(".card").nth(3).locator("[data-key^='out ']").first.click()  # taken back
    page.wait_for_function("document.getElementById('said-count').textContent === '1'")
    page.locator(".pending [data-do=undo]").click()
    assert count.inner_text() == "2"
    page.locator("nav a[href='#corrections']").click()
    page.wait_for_selector("#said li button")
    page.locator("#said li button").first.click()
    assert count.inner_text() == "1"
    page.locator("#said li button").first.click()
    assert count.inner_text() == "0"


def test_a_name_used_twice_makes_one_person_and_a_taken_out_face_is_in_no_person(reported, page):
    open_report(page, reported)
    before = lines()
    for number in (0, 1):
        page.locator(".card").nth(number).locator("input.name").fill("Anna")
        page.keyboard.press("Enter")
        page.wait_for_timeout(100)
    assert "Same person as" in page.locator(".card").first.inner_text()
    out = page.locator(".card").first.locator("[data-key^='out ']").first
    face = int(out.get_attribute("data-key").split()[1])
    out.click()
    page.wait_for_function("document.getElementById('said-count').textContent === '2'")
    said = save(page)
    rows = sorted(row for person in said["people"] for part in person["parts"] for row in part)
    assert [person["name"] for person in said["people"]] == ["Anna"]
    assert rows == sorted(set(before[0] + before[1]) - {face})
    assert said["apart"][0]["face"] == face and set(said["apart"][0]["person"]) == set(rows)


def write_many(output, count):
    """A report of `count` faces of made-up people, a few thumbnails standing for all."""
    rng = np.random.default_rng(0)
    labels = np.sort(rng.zipf(1.4, count) % (count // 4))
    clusters = groups_from_labels(labels)
    order = np.argsort(-clusters.sizes, kind="stable")
    clusters = groups_from_labels(np.argsort(order)[clusters.owners])
    faces, people = len(clusters.members), len(clusters)
    features = Features(
        Path("feature.bin"), rng.standard_normal((count, 16), np.float32), Numbering(np.ones(count, bool)), ""
    )
    inspection = Inspection(
        clusters.members.astype(np.int64),
        rng.uniform(1, 4, faces).astype(np.float32),
        np.where(rng.uniform(size=faces) < 0.01, rng.integers(0, people, faces), -1),
        rng.uniform(1, 4, faces).astype(np.float32),
        rng.uniform(2, 4, people).astype(np.float32),
        rng.integers(0, people, (people, 3)),
        rng.uniform(1, 3, (people, 3)).astype(np.float32),
    )
    names = [f"a folder of photos/somebody {row % 997}/IMG_{row:07d}.jpg" for row in range(count)]
    filelist = FileList(Path("list.txt"), names, [Path("/photos", name) for name in names])
    keys = [f"{number:016x}" for number in range(0, 1 << 60, 1 << 52)]
    for number, key in enumerate(keys):
        place = thumbnail_place(output / "thumbs", key)
        place.parent.mkdir(parents=True, exist_ok=True)
        noise = rng.integers(0, 256, (112, 112, 3), np.uint8) // 4 + np.uint8(number % 192)
        Image.fromarray(noise).save(place)
    thumbnails = [keys[row % len(keys)] for row in range(faces)]
    found = {"predicted_iou": np.round(rng.uniform(0, 1, people), 4).tolist()}
    index = shown.index_data(features, clusters, inspection, found, filelist, thumbnails)
    index |= shown.corrections_data(Corrections([], [], []), features, clusters, filelist, found)
    data = {"index": index, **shown.face_data(features, clusters, inspection, filelist, thumbnails)}
    words = {"people": 1, "alone": 1, "unreadable": 0, "summary": "", "clusters": "clusters.txt"}
    write_report(output, data, words | {"typical": 3.0, "outside": 2.0}, lambda folder: [])


@pytest.mark.parametrize(("count", "seconds"), [(10_000, 2), (200_000, 6)])
def test_many_faces_open_at_once(browser, page, tmp_path, count, seconds):
    write_many(tmp_path / "report", count)
    started = time.monotonic()
    open_report(page, tmp_path)
    assert page.locator(".card").count() == 40
    took = time.monotonic() - started
    print(f"{count} faces: {took:.2f} s")
    assert took < seconds
    pager = page.locator("#pager")
    assert "Page 1 of" in pager.inner_text()
    pager.get_by_text("Next").click()
    page.wait_for_function("document.getElementById('pager').textContent.includes('Page 2 of')")
    assert cards(page)[0] == 40
    page.goto(f"{(tmp_path / 'report' / 'index.html').as_uri()}#person-777")
    page.wait_for_selector("#person-777")
