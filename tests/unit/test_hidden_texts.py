"""What is never shown of texts that somebody else's program printed."""

import sys
from pathlib import Path

import pytest

from lastgood.errors import Code, LastgoodError
from lastgood.sources.hidden_texts import HiddenTexts
from lastgood.sources.programs import MigrationPrograms
from lastgood.wire.credentials import without_credentials


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("no postgresql://me:hidden@db/x", "no postgresql://***@db/x"),
        ("host=db password=hidden user=me", "host=db password=*** user=me"),
        ("DB_PASSWORD='hid den' PGPASSWORD: hidden", "DB_PASSWORD=*** PGPASSWORD: ***"),
        ('{"secret": "hidden", "n": 1}', '{"secret": ***, "n": 1}'),
        ("aws_session_token=hidden&x=1", "aws_session_token=***&x=1"),
        ("password authentication failed for user me", "password authentication failed for user me"),
        (
            "https://s/t?sv=1&sig=hidden&se=2 X-Amz-Signature=hidden",
            "https://s/t?sv=1&sig=***&se=2 X-Amz-Signature=***",
        ),
        ("AccountKey=hidden;x", "AccountKey=***;x"),
        ("refused: Authorization: Bearer hidden.too", "refused: Authorization: Bearer ***"),
        ("a signal: 9, a design: 8", "a signal: 9, a design: 8"),
        ("3 tokens left", "3 tokens left"),
    ],
)
def test_credentials_are_blotted_out(text: str, shown: str) -> None:
    """Users in URLs and values that are called a password, a secret or a token are blotted out, nothing else."""
    assert without_credentials(text) == shown


def test_a_migration_that_fails_shows_no_password(tmp_path: Path) -> None:
    """The last line that a migration said is shown, without the credentials in it."""
    programs = MigrationPrograms(tmp_path, tmp_path / "kept", {})
    text = "import sys; sys.stderr.write('cannot reach postgresql://me:hidden@db/x password=hidden'); sys.exit(3)"
    with pytest.raises(LastgoodError, match="status 3: cannot reach") as caught:
        programs.run("release-1-migration", (sys.executable, "-I", "-S", "-c", text), seconds=30)
    assert caught.value.code == Code.REFUSED
    assert "hidden" not in str(caught.value)


def test_a_secret_that_is_given_in_full_is_not_shown_either() -> None:
    """A value under a secret's name is blotted out, though it stands in the settings; plain words are not."""
    texts = HiddenTexts(
        "lake", {"aws_secret_access_key": "AbCdEfGh1234", "token-refresh": "true", "region": "eu-somewhere"}
    )
    assert texts.masked("true: AbCdEfGh1234 in eu-somewhere") == "true: *** in eu-somewhere"
