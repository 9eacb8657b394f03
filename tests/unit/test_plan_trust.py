"""What a plan may make the server do."""

import pytest

from lastgood.control.preflight import check_plan_trusted
from lastgood.domain.channel import Channel
from lastgood.domain.plan import Plan
from lastgood.errors import Code, LastgoodError
from lastgood.settings import NotifySetting, Settings


@pytest.fixture
def settings(tmp_path):
    """The settings of a project whose operator notifies one host."""
    home = tmp_path / "project" / ".lastgood"
    home.mkdir(parents=True)
    (tmp_path / "outside").mkdir()
    (tmp_path / "project" / "link").symlink_to(tmp_path / "outside")
    return Settings(home=str(home), notify=(NotifySetting(webhook="https://Hooks.example.org/a"),))


def check(settings, **channel):
    check_plan_trusted(Plan(notify=(Channel(**channel),)), settings)


@pytest.mark.parametrize(
    "webhook",
    [
        "http://127.0.0.1:9000/hook",
        "http://localhost/hook",
        "http://[::1]:9000/",
        "https://hooks.example.org:8443/other",
    ],
)
def test_a_plan_may_post_to_this_machine_and_to_the_operators_hosts(settings, webhook):
    """Loopback and the host of a webhook in the settings need no more trust."""
    assert check(settings, webhook=webhook) is None


@pytest.mark.parametrize(
    "webhook",
    [
        "http://169.254.169.254/latest/meta-data",
        "http://10.0.0.7/",
        "https://example.org/",
        "https://hooks.example.org.evil.example/",
        "https://hooks.example.org@evil.example/",
        "http://localhost.evil.example/",
        "http://[::ffff:10.0.0.7]/",
    ],
)
def test_a_plan_may_post_nowhere_else(settings, webhook):
    """Any other host is refused, and the error names the setting that allows it."""
    with pytest.raises(LastgoodError, match="post to") as caught:
        check(settings, webhook=webhook)
    assert caught.value.code is Code.UNTRUSTED
    assert "trust_plan_commands" in caught.value.next_step


@pytest.mark.parametrize("secret", ["file:/etc/shadow", "file:../outside/key", "file:link/key", "file:a\0b"])
def test_a_plan_may_not_sign_with_the_servers_files(settings, secret):
    """A key outside the project's folder is refused, by whatever way its path leads there."""
    with pytest.raises(LastgoodError, match="outside the project") as caught:
        check(settings, webhook="http://127.0.0.1/", secret=secret)
    assert caught.value.code is Code.UNTRUSTED


@pytest.mark.parametrize("secret", ["env:HOOK_SECRET", "file:hook.key", "file:keys/../hook.key"])
def test_a_plan_may_sign_with_the_projects_keys(settings, secret):
    """The environment and files inside the project are the operator's own choice."""
    assert check(settings, webhook="http://127.0.0.1/", secret=secret) is None


def test_the_operator_may_trust_plans(settings):
    """With trust_plan_commands everything a plan can say is accepted; without it a command is refused."""
    trusting = Settings(home=settings.home, trust_plan_commands=True)

    assert check(trusting, webhook="https://example.org/", secret="file:/etc/key") is None
    assert check(trusting, command=("true",)) is None
    with pytest.raises(LastgoodError, match="run 'true'"):
        check(settings, command=("true",))
