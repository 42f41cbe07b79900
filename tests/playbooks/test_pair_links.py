"""A path that is somebody's link is refused before anything is changed; our own links are not."""

from __future__ import annotations

import os
from datetime import timedelta
from pathlib import Path

import pytest
from ansible_collections.renewctl.mdm.plugins.module_utils.node_disk import Fault

from tests.support.certs import NOW, TOPIC, Issued, apple_like
from tests.support.pair_place import OTHER_TOKEN, P12, PEM, TOKEN, TWO, Place


@pytest.fixture(scope="module")
def pairs() -> tuple[Issued, Issued]:
    """The old pair and the new one."""
    apple = apple_like()
    return apple.push(TOPIC, not_after=NOW + timedelta(days=42)), apple.push(TOPIC, key="new")


def seen(folder: Path) -> dict[str, tuple[int, str]]:
    """Everything in a folder: when it was changed, and where it leads."""
    return {
        str(path): (path.lstat().st_mtime_ns, str(path.readlink()) if path.is_symlink() else "")
        for path in [folder, *folder.rglob("*")]
    }


def moved(path: Path, folder: Path) -> Path:
    """As people tidy up: the file lies in another folder, and a relative link leads there."""
    folder.mkdir(exist_ok=True)
    target = path.rename(folder / path.name)
    path.symlink_to(os.path.relpath(target, path.parent))
    return target


@pytest.mark.parametrize("name", ["push.pem", "push.key", "both.pem", "push.p12"])
def test_a_link_is_refused_with_the_path_to_name_instead(
    tmp_path: Path, pairs: tuple[Issued, Issued], name: str
) -> None:
    """Whichever file of whichever layout: nothing at all is changed, and the path that is told is then taken."""
    etc = tmp_path / "etc"
    etc.mkdir()
    old, new = pairs
    place = Place(etc, old, layouts=(TWO, PEM, P12))
    target = moved(etc / name, tmp_path / "srv")
    (tmp_path / "through").symlink_to(
        "srv"
    )  # a folder may be a link: whoever reads there reads the same files
    (etc / name).unlink()
    (etc / name).symlink_to(f"../through/{name}")
    before = seen(tmp_path)
    with pytest.raises(Fault) as caught:
        place.files.fence(1, TOKEN)
    assert caught.value.reason == "node_file_linked"
    values = {"path": str(etc / name), "got": f"../through/{name}", "expected": str(target)}
    assert caught.value.values == values
    assert seen(tmp_path) == before
    (etc / name).unlink()
    target.rename(etc / name)
    place.files.fence(1, TOKEN)
    assert place.switch(new) is True
    assert place.serves(new)


@pytest.mark.parametrize("step", ["switch", "revert"])
def test_a_link_that_came_after_the_fence_is_refused_as_well(
    tmp_path: Path, pairs: tuple[Issued, Issued], step: str
) -> None:
    """Every step that would put our link in its place looks; what the link leads to stays as it is."""
    old, new = pairs
    place = Place(tmp_path, old)
    place.files.fence(1, TOKEN)
    place.switch(new)
    moved(place.certificate, tmp_path / "srv")
    third = apple_like().push(TOPIC, key="third")
    before = seen(tmp_path)
    with pytest.raises(Fault) as caught:
        place.switch(third) if step == "switch" else place.files.revert(1, TOKEN, "0" * 64)
    assert caught.value.reason == "node_file_linked"
    assert seen(tmp_path) == before


@pytest.mark.parametrize(
    ("links", "told"),
    [({"push.pem": "one", "one": "two/deep"}, "two/deep"), ({"push.pem": "push.pem"}, "push.pem")],
)
def test_links_of_links(
    tmp_path: Path, pairs: tuple[Issued, Issued], links: dict[str, str], told: str
) -> None:
    """A chain that ends in nothing, and a circle: the end of it is told, and nothing goes round for ever."""
    place = Place(tmp_path, pairs[0])
    place.certificate.unlink()
    for name, leads in links.items():
        (tmp_path / name).symlink_to(leads)
    with pytest.raises(Fault) as caught:
        place.files.fence(1, TOKEN)
    assert caught.value.reason == "node_file_linked"
    assert caught.value.values["expected"] == str(tmp_path / told)


def test_a_link_to_another_place_of_ours_is_told_by_that_places_own_path(
    tmp_path: Path, pairs: tuple[Issued, Issued]
) -> None:
    """Not the release it ends in, which is another one next year."""
    etc = tmp_path / "etc"
    etc.mkdir()
    main = Place(etc, pairs[0])
    main.files.fence(1, TOKEN)
    main.switch(pairs[1])
    other = Place(tmp_path, None)
    other.certificate.symlink_to("etc/push.pem")
    other.key.symlink_to("etc/push.key")
    with pytest.raises(Fault) as caught:
        other.files.fence(1, TOKEN)
    assert caught.value.values["expected"] == str(main.certificate)


def test_our_own_links_are_taken_also_under_another_name(
    tmp_path: Path, pairs: tuple[Issued, Issued]
) -> None:
    """The next year, a place that is named by another file than before, a folder that was a link all along."""
    old, new = pairs
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    place = Place(tmp_path / "link", old)
    for run, pair in enumerate([new, old], start=1):
        place.files.fence(run, TOKEN)
        assert place.switch(pair, run) is True
        assert place.serves(pair)
    renamed = Place(tmp_path / "link", None)
    renamed.certificate = tmp_path / "link" / "other.pem"
    place.certificate.rename(renamed.certificate)
    named = renamed.named(TWO)
    renamed.files = type(renamed.files)([named])
    renamed.files.fence(3, OTHER_TOKEN)
    assert renamed.switch(new, 3, OTHER_TOKEN) is True
    assert renamed.serves(new)
