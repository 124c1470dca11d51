"""A Modelfile says the same after it was written down and read back, or what it cannot say is named."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from ggship.errors import UsageError
from ggship.modelfile import Modelfile, not_carried, parse, render

PIECES = st.sampled_from(
    [
        '"',
        '""',
        '"""',
        "\n",
        "\r\n",
        "\t",
        " ",
        "#",
        "你好",
        "法律",
        "\u3000",
        "\u00a0",
        "👩\u200d⚖️",
        "{{ .Content }}",
        "a",
        "\\n",
        ": ",
    ]
)
TEXT = st.one_of(st.lists(PIECES, max_size=8).map("".join), st.text(max_size=30))
INT = st.integers(min_value=-(2**63), max_value=2**63 - 1)
FLOAT = st.floats(allow_nan=False, allow_infinity=False, width=32) | st.floats(allow_nan=False, allow_infinity=False)
PARAMETER = st.one_of(
    st.tuples(st.just("stop"), TEXT),
    st.tuples(st.sampled_from(["num_ctx", "seed", "top_k"]), INT),
    st.tuples(st.sampled_from(["temperature", "min_p"]), FLOAT),
    st.tuples(st.just("use_mmap"), st.booleans()),
)
OPTIONAL = st.none() | TEXT
MODELFILES = st.builds(
    Modelfile,
    from_=TEXT,
    more_from=st.lists(TEXT, max_size=1).map(tuple),
    adapter=OPTIONAL,
    draft=OPTIONAL,
    template=OPTIONAL,
    system=OPTIONAL,
    parameters=st.lists(PARAMETER, max_size=4).map(tuple),
    messages=st.lists(st.tuples(st.sampled_from(["system", "user", "assistant"]), TEXT), max_size=3).map(tuple),
    renderer=OPTIONAL,
    parser=OPTIONAL,
    requires=OPTIONAL,
    licenses=st.lists(TEXT, max_size=2).map(tuple),
    comments=st.lists(TEXT, max_size=2).map(tuple),
)


@settings(max_examples=200, deadline=None)
@given(MODELFILES)
def test_read_back_is_the_same_exactly_where_nothing_is_named_as_lost(modelfile):
    try:
        same = parse(render(modelfile)) == modelfile
    except UsageError:
        same = False
    assert same == (not_carried(modelfile) == ())
