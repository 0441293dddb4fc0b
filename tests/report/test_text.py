import pytest

from segtools.report.text import (
    count,
    doi_url,
    milliliters,
    plain,
    prose,
    size,
)


@pytest.mark.parametrize(
    ("number", "expected"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1 kB"),
        (999_999, "1 MB"),
        (14_200_000_000_000, "14.2 TB"),
        (10**18, "1,000 PB"),
    ],
)
def test_size(number, expected):
    assert size(number) == expected.replace(" ", "\N{NO-BREAK SPACE}")


@pytest.mark.parametrize(
    ("volume", "expected"),
    [
        (0.0, "0"),
        (0.000125, "0.000125"),
        (0.5, "0.5"),
        (1.0, "1"),
        (12.345, "12.3"),
        (99.99, "100"),
        (1500.4, "1,500"),
        (1e6, "1,000,000"),
    ],
)
def test_milliliters_have_three_digits_and_no_exponent(volume, expected):
    assert milliliters(volume) == expected


def test_count():
    assert count(126051) == "126,051"


def test_plain_cuts_long_strings():
    assert plain("a" * 5000) == "a" * 159 + "…"
    assert plain("a" * 160) == "a" * 160


def test_plain_shows_controls_and_keeps_scripts():
    assert plain("a\x00b\x1bc") == r"a\x00b\x1bc"
    assert plain("a\n\t b") == "a b"
    assert plain("\u202etxt.exe") == r"\u202etxt.exe"
    assert plain("كبد 肝臓 Ц é") == "كبد 肝臓 Ц é"
    assert plain(None) == ""


def test_prose_marks_code_and_escapes_the_rest():
    assert prose("Run `a<b` & go.") == "Run <code>a&lt;b</code> &amp; go."


@pytest.mark.parametrize(
    ("doi", "expected"),
    [
        ("10.5281/zenodo.8347012", "https://doi.org/10.5281/zenodo.8347012"),
        ("https://doi.org/10.7937/TCIA.x", "https://doi.org/10.7937/TCIA.x"),
        ("10.1000/a#b?c", "https://doi.org/10.1000/a%23b%3Fc"),
        ("javascript:alert(1)", None),
        ('10.1000/"onclick=', None),
        ("10.1000/a b", None),
        ("", None),
    ],
)
def test_doi_url(doi, expected):
    assert doi_url(doi) == expected
