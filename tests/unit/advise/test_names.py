"""Names of columns as they are given on a command line."""

import pytest

from segpipe.advise import names_in
from segpipe.errors import FlagError


@pytest.mark.parametrize(
    ("text", "names"),
    [("a,b", ["a", "b"]), ('"a,b", c', ["a,b", "c"]), ('"say ""hi"""', ['say "hi"'])],
)
def test_a_name_with_a_comma_stands_in_quotes(text, names):
    assert names_in(text) == names


@pytest.mark.parametrize("text", ["", "a,,b", " , "])
def test_nothing_is_no_name(text):
    with pytest.raises(FlagError, match="names nothing") as caught:
        names_in(text)
    assert caught.value.code == 2
