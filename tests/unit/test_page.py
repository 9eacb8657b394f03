"""The route page: what a reader sees is whole, newest, and of this boot."""

import multiprocessing
import os
import zlib

import msgspec
import pytest

from lastgood.domain.route import Route, RouteTable, Target
from lastgood.errors import Code, LastgoodError
from lastgood.wire.page import LEASE_WORD, MAGIC, STATE_WORD, RoutePage

BOOT_WORD, FIRST_BUFFER, BUFFER_BYTES = 1, 8192, 4 * 1024 * 1024


@pytest.fixture
def path(tmp_path):
    return tmp_path / "route.page"


@pytest.fixture
def page(path):
    page = RoutePage.open(path)
    yield page
    page.close()


def table(generation, size=1):
    target = Target(version=generation, digest=f"sha256:{generation}", socket="v.sock")
    route = Route(deployment="d", model="m", generation=generation, stable=target)
    return RouteTable(generation=generation, routes=(route,) * size)


def scribble(path, at, raw):
    with path.open("r+b") as file:
        file.seek(at)
        file.write(raw)


def test_an_empty_page_reads_as_no_routes(page):
    """Before the first publication there is state 0 and an empty table."""
    assert page.read() == (0, RouteTable(generation=0))


def test_what_is_published_is_read_by_another_mapping(page, path):
    """A second mapping of the file sees the table, and its state word has changed."""
    other = RoutePage.open(path)
    before = other.words[STATE_WORD]
    page.publish(table(1))
    state, found = other.read()
    now = other.words[STATE_WORD]
    other.close()

    assert found == table(1)
    assert state == now != before


@pytest.mark.parametrize("generation", [4, 5])
def test_a_generation_never_goes_back(page, generation):
    """Publishing an older or the same generation is refused and changes nothing."""
    page.publish(table(5))

    assert not page.publish(table(generation, size=2))
    assert page.read()[1] == table(5)


def test_a_writer_killed_half_way_leaves_the_old_table_whole(page, path):
    """Rubbish in the buffer that is not in use is never seen, and the next publication is whole again."""
    page.publish(table(1))
    unused = FIRST_BUFFER + BUFFER_BYTES * (1 - (page.words[STATE_WORD] & 1))
    scribble(path, unused, os.urandom(4096))

    assert page.read()[1] == table(1)
    assert page.publish(table(2))
    assert page.read()[1] == table(2)


def test_a_damaged_table_is_refused(page, path):
    """A buffer in use that does not match its checksum is an error, never a route."""
    page.publish(table(1))
    used = FIRST_BUFFER + BUFFER_BYTES * (page.words[STATE_WORD] & 1)
    scribble(path, used + 20, b"!!")

    with pytest.raises(LastgoodError) as caught:
        page.read()
    assert caught.value.code is Code.CORRUPT


def test_a_reader_meets_a_writer_at_full_speed(page, path):
    """While another process publishes as fast as it can, every read is whole and none goes back."""
    process = multiprocessing.get_context("spawn").Process(target=publish_many, args=(str(path), 2_000))
    process.start()
    seen = [0]
    while seen[-1] < 2_000 and (process.is_alive() or seen[-1] == 0):
        state, found = page.read()
        assert all(route.generation == found.generation for route in found.routes)
        assert state >> 1 == found.generation
        seen.append(found.generation)
    process.join()

    assert process.exitcode == 0
    assert seen == sorted(seen)


def publish_many(path, count):
    from pathlib import Path

    page = RoutePage.open(Path(path))
    for generation in range(1, count + 1):
        page.publish(table(generation, size=1 + generation % 50))
    page.close()


def test_another_boot_forgets_lease_and_workers_but_not_the_routes(page, path):
    """After a restart of the machine the lease is over and no worker counts; the table stays."""
    page.publish(table(3))
    page.renew_lease(1000)
    page.claim(0, 4242)
    page.words[BOOT_WORD] = zlib.crc32(b"another boot") | 1
    again = RoutePage.open(path)
    lease, workers, found = again.words[LEASE_WORD], again.workers(), again.read()[1]
    again.close()

    assert (lease, workers, found) == (0, [], table(3))


def test_the_lease_ends(page):
    """A lease of no length does not hold, and a new one does."""
    page.renew_lease(60)
    held = page.lease_holds()
    page.renew_lease(0)

    assert held
    assert not page.lease_holds()


def test_a_claim_forgets_what_the_predecessor_acknowledged(page):
    """A worker that takes over a slot has acknowledged nothing yet."""
    page.claim(2, 100)
    page.acknowledge(2, 7, 3)
    page.claim(2, 101)
    (worker,) = page.workers()

    assert (worker.slot, worker.pid, worker.generation, worker.in_flight) == (2, 101, 0, 0)


def test_acknowledgements_are_read_back_and_a_slot_can_be_given_up(page):
    """What a worker says of itself is what the controller reads, until the slot is released."""
    page.claim(0, 100)
    page.claim(63, 200)
    page.acknowledge(63, 9, 1)
    found = {worker.slot: (worker.pid, worker.generation, worker.in_flight) for worker in page.workers()}
    page.release_slot(63)

    assert found == {0: (100, 0, 0), 63: (200, 9, 1)}
    assert [worker.slot for worker in page.workers()] == [0]


def test_another_file_is_not_taken_for_a_page(path):
    """A file with other contents is refused and left as it is."""
    path.write_bytes(msgspec.json.encode({"not": "a page"}))

    with pytest.raises(LastgoodError):
        RoutePage.open(path)
    assert path.read_bytes()[:8] != MAGIC.to_bytes(8, "little")


def test_a_table_that_does_not_fit_is_refused(page):
    """A table larger than the page's buffer is an error, and the old one stays."""
    page.publish(table(1))

    with pytest.raises(LastgoodError) as caught:
        page.publish(table(2, size=100_000))
    assert caught.value.code is Code.TOO_LARGE
    assert page.read()[1] == table(1)
