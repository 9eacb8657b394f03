"""Names and labels of models, deployments and versions."""

import pytest

from lastgood.domain.version import VAGUE_WORDS, Format, Version, check_label, check_name
from lastgood.errors import Code, LastgoodError


@pytest.mark.parametrize(
    "label", ["v1.0", "v1.0.0-rc1", "2026-11-21", "1.2", "v3+cpu", "churn_7", "r2026.11", "a" * 64]
)
def test_a_label_that_sorts_is_accepted(label):
    """Numbers and dates, with a word that means something, are what labels are for."""
    assert check_label(label) == label


@pytest.mark.parametrize("word", sorted(VAGUE_WORDS))
def test_a_vague_word_is_refused_wherever_it_stands(word):
    """A word that names no order is refused alone, capitalised, and beside a number, with what to use instead."""
    for label in (word, word.upper(), f"{word}-2", f"v1.0_{word}", f"{word}3"):
        with pytest.raises(LastgoodError) as caught:
            check_label(label)
        assert caught.value.code is Code.INVALID
        assert repr(word) in caught.value.message
        assert "v1.3" in caught.value.next_step


@pytest.mark.parametrize("word", ["final", "latest", "new", "best", "backup", "prod"])
def test_the_words_that_were_asked_for_are_among_the_vague_ones(word):
    """The list holds at least the words that the product promises to refuse."""
    assert word in VAGUE_WORDS


@pytest.mark.parametrize("label", ["v1-newton", "latestage", "goodness-1", "v1.testify"])
def test_a_vague_word_inside_another_word_does_no_harm(label):
    """Only whole words count, so that honest labels are not refused for their letters."""
    assert check_label(label) == label


@pytest.mark.parametrize("label", ["3", "2026"])
def test_a_bare_number_is_refused_because_versions_are_numbered(label):
    """A label that could be read as a version number would make --version ambiguous."""
    with pytest.raises(LastgoodError) as caught:
        check_label(label)
    assert caught.value.next_step == f"Use v{label}."


@pytest.mark.parametrize(
    "label", ["", " ", "v 1", "v/1", "../v1", "v1?", "v1#a", "-v1", ".v1", "v1\n", "é1", "a" * 65]
)
def test_a_label_that_does_not_survive_a_url_is_refused(label):
    """Spaces, slashes, query characters, other alphabets and too much length are refused."""
    with pytest.raises(LastgoodError) as caught:
        check_label(label)
    assert caught.value.code is Code.INVALID


@pytest.mark.parametrize("name", ["churn", "churn-eu", "Churn_2", "a", "a" * 63])
def test_a_plain_name_is_accepted(name):
    """Letters, digits, '-' and '_', beginning with a letter."""
    assert check_name(name) == name


@pytest.mark.parametrize(
    "name", ["", "2churn", "-churn", "churn eu", "churn/eu", "..", "churn\n", "chürn", "a" * 64]
)
def test_a_name_that_does_not_fit_a_path_is_refused(name):
    """Anything else would not survive a URL or a file's name; the error says what is named and gives an example."""
    with pytest.raises(LastgoodError, match="deployment") as caught:
        check_name(name, "deployment")
    assert caught.value.code is Code.INVALID
    assert "churn-eu" in caught.value.next_step


def test_a_version_is_called_by_its_label_or_its_number():
    """People see the label where there is one, and lists show both."""
    version = Version(
        model="churn",
        number=3,
        digest="sha256:00",
        size_bytes=1,
        format=Format.ONNX,
        created_at=0.0,
        created_by="ada",
    )
    labelled = Version(
        model="churn",
        number=3,
        label="v1.2",
        digest="sha256:00",
        size_bytes=1,
        format=Format.ONNX,
        created_at=0.0,
        created_by="ada",
    )
    assert (version.display, version.full_display) == ("version 3", "3")
    assert (labelled.display, labelled.full_display) == ("v1.2", "3 (v1.2)")
