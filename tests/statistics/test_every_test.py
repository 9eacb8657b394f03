"""What every sequential test must keep, found by reflection: a new one cannot be added without passing.

A module with ``initial`` and ``update`` is a test. Here it needs one line: how it begins, and how a stratum of
integers becomes its arguments. Everything is then asked of it.
"""

import importlib
import inspect
import json
import math
import pkgutil
from collections.abc import Callable
from types import ModuleType
from typing import Any, NamedTuple

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import lastgood.stats
from lastgood.stats import noninferiority, score

MODULES = [
    importlib.import_module(f"lastgood.stats.{found.name}")
    for found in pkgutil.iter_modules(lastgood.stats.__path__)
]
TESTS = {
    module.__name__.rpartition(".")[2]: module
    for module in MODULES
    if hasattr(module, "initial") and hasattr(module, "update")
}
FUNCTIONS = [
    (module, name)
    for module in MODULES
    for name, function in inspect.getmembers(module, inspect.isfunction)
    if not name.startswith("_") and function.__module__ == module.__name__
]

Counts = list[int]  # four counts of arm 1, four of arm 0


class Case(NamedTuple):
    """How a test begins, and how eight counts become the arguments of its update."""

    start: Callable[[], Any]
    arguments: Callable[[Counts], tuple[Any, ...]]
    begin: str = "initial"


def table(c: Counts) -> tuple[int, int, int, int]:
    return c[0] + c[1], c[1], c[4] + c[5], c[5]


def histograms(c: Counts) -> tuple[dict[int, int], dict[int, int]]:
    return dict(zip((9, 20, 30, 60), c[:4], strict=True)), dict(zip((9, 20, 30, 60), c[4:], strict=True))


def pairs(c: Counts) -> tuple[int, int, int]:
    return sum(c), c[0], c[4]


PAST = {9: 900, 20: 300, 30: 90, 60: 9}
CASES = {
    "coinflip": [Case(lambda: TESTS["coinflip"].initial(1e-6, 0.2, 1.2), table)],
    "detector": [
        Case(lambda: TESTS["detector"].initial(1e6), table),
        Case(lambda: TESTS["detector"].initial_against(1e6, 0.3), lambda c: table(c)[:2], "initial_against"),
    ],
    "detector_margin": [Case(lambda: TESTS["detector_margin"].initial(1e6, 0.05), table)],
    "detector_pairs": [
        Case(lambda: TESTS["detector_pairs"].initial(1e6, 1.2), pairs),
        Case(
            lambda: TESTS["detector_pairs"].initial_by_difference(1e6, 0.02), pairs, "initial_by_difference"
        ),
    ],
    "margin": [Case(lambda: TESTS["margin"].initial(1e-6, 0.05), table)],
    "means": [Case(lambda: TESTS["means"].initial(1e-6), histograms)],
    "noninferiority": [Case(lambda: TESTS["noninferiority"].initial(1e-6, 0.05), table)],
    "paired": [Case(lambda: TESTS["paired"].initial(1e-6, 1.2), lambda c: (c[0], c[4]))],
    "paired_margin": [Case(lambda: TESTS["paired_margin"].initial(1e-6, 0.02), pairs)],
    "ranks": [Case(lambda: TESTS["ranks"].initial(0.01, PAST, draws=20), histograms)],
    "score": [Case(lambda: TESTS["score"].initial(1e-6, 1.2), table)],
    "shares": [
        Case(lambda: TESTS["shares"].initial(1e-6, (0.2, 0.8)), lambda c: ((sum(c[:4]), sum(c[4:])),))
    ],
    "shift": [Case(lambda: TESTS["shift"].initial(1e-6, 0.05, 4), lambda c: (c[:4], c[4:]))],
}
EVERY = [
    pytest.param(TESTS[name], case, id=f"{name}-{case.begin}")
    for name, cases in CASES.items()
    for case in cases
]
STRATUM = st.lists(st.integers(0, 30), min_size=8, max_size=8)


def after(module: ModuleType, state: Any, case: Case, counts: Counts) -> Any:
    return module.update(state, *case.arguments(counts))


def evidence(module: ModuleType, state: Any) -> float:
    return module.log_e(state) if hasattr(module, "log_e") else state.log_e


def restored(state: Any) -> Any:
    plain = json.dumps(msgspec.to_builtins(state, str_keys=True), allow_nan=False)
    return msgspec.convert(json.loads(plain), type(state), str_keys=True)


def test_every_test_is_asked() -> None:
    """Each module with an initial state and an update has a case here, and no case is without a module."""
    assert set(TESTS) == set(CASES)
    assert len(TESTS) >= 13


@pytest.mark.parametrize(("module", "case"), EVERY)
@given(strata=st.lists(STRATUM, max_size=6))
@settings(max_examples=25, deadline=None)
def test_a_state_survives_json_and_a_replay_bit_for_bit(
    module: ModuleType, case: Case, strata: list[Counts]
) -> None:
    """Kept in memory, written to JSON after every stratum, or computed again: the same state, with finite evidence."""
    kept = stored = again = case.start()
    for counts in strata:
        kept = after(module, kept, case, counts)
        stored = restored(after(module, stored, case, counts))
        again = after(module, again, case, list(counts))
        assert stored == kept == again
        assert math.isfinite(evidence(module, kept))
        assert module.reached(kept) is module.reached(stored)


@pytest.mark.parametrize(("module", "case"), EVERY)
@given(
    strata=st.lists(st.tuples(STRATUM, STRATUM, STRATUM), min_size=1, max_size=4),
    order=st.permutations(range(3)),
)
@settings(max_examples=25, deadline=None)
def test_how_replicas_split_a_stratum_does_not_matter(
    module: ModuleType, case: Case, strata: list[tuple[Counts, Counts, Counts]], order: list[int]
) -> None:
    """Three replicas' counts, converted one by one and added in any order, give the state of the whole."""
    whole = split = case.start()
    for replicas in strata:
        whole = after(module, whole, case, [sum(counts) for counts in zip(*replicas, strict=True)])
        parts = [case.arguments(replicas[number]) for number in order]
        split = module.update(split, *(added([part[at] for part in parts]) for at in range(len(parts[0]))))

    assert split == whole


def added(parts: list[Any]) -> Any:
    """Add counts as a collector does: numbers, sequences by place, histograms by bucket in order of arrival."""
    if isinstance(parts[0], dict):
        sums: dict[int, int] = {}
        for part in parts:
            for bucket in reversed(part):
                sums[bucket] = sums.get(bucket, 0) + part[bucket]
        return sums
    if isinstance(parts[0], int):
        return sum(parts)
    return type(parts[0])(sum(place) for place in zip(*parts, strict=True))


@pytest.mark.parametrize(("module", "case"), EVERY)
def test_an_empty_stratum_changes_nothing(module: ModuleType, case: Case) -> None:
    """Before any data and after some, a stratum without trials leaves the very same state."""
    state = case.start()
    for counts in ([30, 5, 3, 1, 200, 9, 5, 1], [9, 0, 0, 1, 90, 7, 3, 0]):
        assert after(module, state, case, [0] * 8) == state
        state = after(module, state, case, counts)
    assert after(module, state, case, [0] * 8) == state


@pytest.mark.parametrize(("module", "case"), EVERY)
@pytest.mark.parametrize("scale", [10**6, 10**9])
def test_counts_of_a_billion_do_not_overflow(module: ModuleType, case: Case, scale: int) -> None:
    """Huge strata, one-sided ones and small ones after them leave finite evidence and a state that JSON can hold."""
    for worse in (
        [1, 1, 0, 0, 5, 1, 0, 0],
        [1, 0, 0, 0, 1, 0, 0, 0],
        [0, 1, 0, 1, 0, 1, 0, 1],
        [0, 1, 0, 0, 1, 0, 0, 0],
    ):
        state = case.start()
        for counts in ([count * scale for count in worse], [9, 1, 0, 0, 90, 1, 0, 0]):
            state = after(module, state, case, counts)
            assert math.isfinite(evidence(module, state))
            assert restored(state) == state


@pytest.mark.parametrize(("module", "case"), EVERY)
def test_evidence_begins_at_even_and_a_decision_stays(module: ModuleType, case: Case) -> None:
    """Before any data the evidence is 0 and nothing is decided; what was reached stays reached whatever follows."""
    fresh = case.start()
    assert evidence(module, fresh) == pytest.approx(0.0, abs=1e-12)
    assert not module.reached(fresh)
    state = msgspec.structs.replace(fresh, stopped=True)
    for counts in ([40, 0, 0, 0, 300, 60, 9, 9], [0, 40, 40, 40, 40, 0, 0, 0]):
        state = after(module, state, case, counts)
        assert module.reached(state)


@pytest.mark.parametrize(("module", "case"), EVERY)
def test_a_state_stays_small(module: ModuleType, case: Case) -> None:
    """After two hundred strata a state takes less than four kilobytes, and is no longer than after a hundred."""
    state, sizes = case.start(), []
    for number in range(1, 201):
        state = after(module, state, case, [9, number % 2, 1, 0, 90, number % 3, 9, 1])
        if number % 100 == 0:
            sizes.append(len(json.dumps(msgspec.to_builtins(state, str_keys=True))))
    assert max(sizes) < 4000
    assert sizes[1] <= sizes[0] + 200


def test_the_test_by_odds_of_non_inferiority_is_scores_own_state() -> None:
    """The second form of non-inferiority keeps a SCORE state, so all that is asked of SCORE holds for it."""
    state = noninferiority.update_by_odds(noninferiority.initial_by_odds(0.05, 2.0), 9, 1, 90, 4)

    assert isinstance(state, score.Score)
    assert state == score.update(noninferiority.initial_by_odds(0.05, 2.0), 90, 4, 9, 1)


@pytest.mark.parametrize("module", TESTS.values(), ids=TESTS)
def test_every_test_states_its_hypothesis_guarantee_formula_and_source(module: ModuleType) -> None:
    """A test's module says what is tested, what is promised, how it is computed, and where it is from."""
    text = module.__doc__ or ""
    for word in ("Hypothesis\n", "Guarantee\n", "Formula\n", "Source"):
        assert word in text
    promise = " ".join(text.partition("Guarantee\n")[2].partition("Formula\n")[0].split())
    assert "run_length" in promise or "at most ``alpha``" in promise
    assert module.reached.__doc__
    assert (
        "alpha" in module.reached.__doc__
        or "run_length" in module.reached.__doc__
        or "shown" in module.reached.__doc__
    )


@pytest.mark.parametrize(("module", "name"), FUNCTIONS, ids=lambda value: getattr(value, "__name__", value))
def test_every_public_function_says_what_it_returns_and_promises(module: ModuleType, name: str) -> None:
    """A docstring that begins with what is returned; names each argument that it restricts; an interval its guarantee."""
    function = getattr(module, name)
    text = inspect.getdoc(function) or ""
    assert text.startswith("Return ")
    raises = "raise ValueError" in inspect.getsource(function)
    assert not raises or "ValueError" in text
    if "confidence" in inspect.signature(function).parameters:
        assert "``confidence``" in text
        assert "hold" in text or "coverage" in text


def test_the_charter_names_every_module() -> None:
    """What to use when, and what it is made of: no module of the library is missing from its index."""
    charter = lastgood.stats.__doc__ or ""
    for module in MODULES:
        assert f":mod:`{module.__name__}`" in charter


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.__name__)
def test_the_library_knows_nothing_of_its_users(module: ModuleType) -> None:
    """No word of the field and no import from other floors: others can use the library for their own ends."""
    source = inspect.getsource(module).lower()
    for word in (
        "guardrail",
        "canary",
        "rollback",
        "candidate",
        "promotion",
        "gateway",
        "lastgood.domain",
        "lastgood.analysis",
    ):
        assert word not in source
