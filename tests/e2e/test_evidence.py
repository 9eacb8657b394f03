"""Releases judged through real HTTP: how soon a worse candidate is found, and that a good one is promoted."""

from collections.abc import Iterator

import pytest
from project import Load, Project

PLAN = """\
strategy: canary
steps:
  - weight: 10%
    for: {seconds}s
    samples: {samples}
guardrails:
  - metric: health
  - metric: {metric}
false_rollback_rate: {rate}
units: requests
watch: 0s
"""


def unsure(rate: float, seed: int, before: str = "") -> str:
    """Return a model that reports so many of its answers as of low confidence; ``before`` runs first, with ``lot``."""
    return (
        f"lot = state.setdefault('lot', np.random.default_rng({seed}))\n{before}\n"
        f"return {{'y': x * 2.0, 'lastgood.low_confidence': lot.random(len(x)) < {rate}}}"
    )


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    """One server for all; its stable version is unsure of 1 % of its answers and fails none."""
    made = Project(tmp_path_factory.mktemp("evidence"), health_timeout=5.0)
    made.register("v1.0", unsure(0.01, 1000))
    try:
        made.start()
        made.cli("release", "churn", "--version", "v1.0", "--wait")
        yield made
    finally:
        made.stop()


COUNTER = "counter\n    counter: low_confidence"


def plan(project: Project, metric: str, *, rate: str, seconds: int = 600, samples: int = 100_000) -> None:
    """Write the plan: one step of 10 %, and one guardrail beside health that has the whole false rollback rate."""
    text = PLAN.format(metric=metric, rate=rate, seconds=seconds, samples=samples)
    (project.folder / "plan.yaml").write_text(text)


def rolled_back(project: Project, labels: list[str]) -> tuple[list[int], Load]:
    """Release one after another under load, each of which must be rolled back; return the requests each got."""
    with Load(project, clients=4, pause=0.01) as load:
        for label in labels:
            done = project.release(label, expect=4)
            assert "Deployed model version: v1.0" in done.stdout
    numbers = {row["label"]: str(row["number"]) for row in project.data("versions", "churn")["versions"]}
    return [load.versions[numbers[label]] for label in labels], load


@pytest.mark.slow
def test_thirty_candidates_with_five_per_cent_bad_answers_are_found_soon(project: Project) -> None:
    """5 % against 1 % at a split of 10 %: all thirty go back, after 90 to 220 requests on average, and no client fails."""
    labels = [f"v2.{number}" for number in range(30)]
    for number, label in enumerate(labels):
        project.register(label, unsure(0.05, number))
    plan(project, COUNTER, rate="5%")

    requests, load = rolled_back(project, labels)

    assert not load.failures, load.failures
    assert 90 <= sum(requests) / len(requests) <= 220, requests


@pytest.mark.slow
def test_candidates_that_fail_one_request_in_twenty_cost_no_client_an_answer(project: Project) -> None:
    """Errors of 5 % against none: all go back soon, and stable answers what the candidates failed."""
    labels = [f"v3.{number}" for number in range(5)]
    for number, label in enumerate(labels):
        fails = "if lot.random() < 0.05:\n    raise RuntimeError('no such category')"
        project.register(label, unsure(0.01, 200 + number, fails))
    plan(project, "errors", rate="5%")

    requests, load = rolled_back(project, labels)

    assert not load.failures, load.failures
    assert load.fallbacks["error"] >= 2 * len(labels), load.fallbacks
    assert sum(requests) / len(requests) <= 220, requests


@pytest.mark.slow
def test_a_good_candidate_is_promoted_after_twenty_thousand_requests(project: Project) -> None:
    """The same rates in both arms, 2 000 candidate requests at a split of 10 %: promoted, and no client fails."""
    project.register("v4.0", unsure(0.01, 300))
    plan(project, COUNTER, rate="0.1%", seconds=1, samples=2000)

    with Load(project, clients=6, pause=0.0) as load:
        done = project.release("v4.0", expect=0)

    assert not load.failures, load.failures
    assert load.requests >= 18_000
    assert project.data("status", "churn")["stable"]["label"] == "v4.0", done.stdout
