"""Two tables of the settings that mean the same data are refused, however each is spelt."""

from pathlib import Path

import pytest

from lastgood.errors import Code, LastgoodError
from lastgood.sources.same_data import check_one_name

URL = "postgresql://app@db.example.org/shop"


def refusal(name: str, sources: dict[str, dict[str, object]]) -> LastgoodError | None:
    try:
        check_one_name(name, sources)
    except LastgoodError as error:
        return error
    return None


def refused(one: dict[str, object], other: dict[str, object]) -> bool:
    """Whether the two are refused, whichever is opened first, by a sentence that names both tables and no address."""
    sources = {"first": one, "second": other}
    found = [refusal(name, sources) for name in sources]
    told = [error for error in found if error is not None]
    assert len(told) in (0, 2)
    assert {error.code for error in told} <= {Code.INVALID}
    assert all("'first'" in str(error) and "'second'" in str(error) for error in told)
    assert not any("example.org" in str(error) for error in told)
    return bool(told)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a file in it, and links to both."""
    (tmp_path / "shop").mkdir()
    (tmp_path / "shop" / "features.db").write_bytes(b"")
    (tmp_path / "link").symlink_to(tmp_path / "shop")
    (tmp_path / "linked.db").symlink_to(tmp_path / "shop" / "features.db")
    (tmp_path / "shopping").mkdir()
    return tmp_path


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("shop/features.db", "shop/../shop/./features.db", True),
        ("shop/features.db", "link/features.db", True),
        ("shop/features.db", "linked.db", True),
        ("shop/features.db", "shop", True),
        ("link", "shop", True),
        ("shop", "shopping", False),
        ("shop/features.db", "shop/others.db", False),
        ("not/there.db", "not/../not/there.db", True),
    ],
)
def test_paths_are_compared_as_the_file_system_sees_them(
    folder: Path, one: str, other: str, same: bool
) -> None:
    """Links, dots and folders within folders; a name that only begins alike is another one."""
    assert refused({"path": str(folder / one)}, {"path": str(folder / other)}) is same


def test_a_table_is_known_by_path_and_by_uri(folder: Path) -> None:
    """file: and a plain path are one place."""
    assert refused({"path": str(folder / "shop")}, {"uri": f"file://{folder}/link"})
    assert not refused({"path": str(folder / "shop")}, {"uri": "s3://bucket/shop"})


@pytest.mark.parametrize(
    ("other", "schema", "same"),
    [
        ("postgresql://app@db.example.org:5432/shop", "public", True),
        ("postgres://somebody@DB.Example.ORG./shop?connect_timeout=3", "public", True),
        ("postgresql:///shop?host=db.example.org", "public", True),
        ("postgresql://app@db.example.org:5433/shop", "public", False),
        ("postgresql://app@db.example.org/other", "public", False),
        (URL, "features", False),
    ],
)
def test_databases_are_compared_by_server_database_and_schema(other: str, schema: str, same: bool) -> None:
    """A default port written out, capitals, and who connects make no other data."""
    assert refused({"url": URL, "schema": "public"}, {"url": other, "schema": schema}) is same


def test_every_name_of_this_machine_is_one() -> None:
    """localhost, its addresses and a socket's folder lead to the same server."""
    hosts = ("localhost", "127.0.0.1", "[::1]", "")
    urls = [f"postgresql://{host}/shop" for host in hosts] + ["postgresql:///shop?host=/run/postgresql"]
    for url in urls:
        assert refused({"url": urls[0], "schema": "s"}, {"url": url, "schema": "s"})


def test_an_address_that_is_a_secret_is_compared_and_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    """What env:NAME holds counts; where nothing is there nobody can tell, and nothing is refused."""
    monkeypatch.setenv("SHOP_URL", "postgresql://app:secret@db.example.org/shop")
    assert refused({"url": "env:SHOP_URL", "schema": "s"}, {"url": URL, "schema": "s"})
    assert not refused({"url": "env:NOT_SET", "schema": "s"}, {"url": URL, "schema": "s"})


def test_what_cannot_be_compared_is_not_refused() -> None:
    """Programs know their data alone."""
    assert not refused({"program": ["a"]}, {"program": ["a"]})


@pytest.mark.parametrize(
    ("kind", "name", "same"),
    [("sql", "prod", False), ("sql", "default", True), ("rest", "prod", True)],
)
def test_catalogs_in_one_database_are_told_apart_by_name(kind: str, name: str, same: bool) -> None:
    """Only there: who else gives the same catalog another name means the same tables."""
    given: dict[str, object] = {
        "table": "shop.features",
        "catalog": {"type": kind, "uri": "http://db.example.org/catalogs"},
    }

    assert refused(given, {**given, "catalog_name": name}) is same
