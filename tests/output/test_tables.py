"""Tables of results as Markdown and CSV."""

from npgen.output import Column, csv_table, markdown_table, number

NAME = Column("name", lambda row: row["name"])
SCORE = number("score", "score", ".1f")
ROWS = [
    {"name": "a", "score": 1.25, "score_low": 1.0, "score_high": 1.5},
    {"name": "b", "score": 2.0},
    {"name": "c", "score": None},
]


def test_markdown():
    never = number("never", "missing", ".2f")
    assert markdown_table([NAME, SCORE, never], ROWS).splitlines() == [
        "| name | score |",
        "| --- | --: |",
        "| a | 1.2 [1.0, 1.5] |",
        "| b | 2.0 |",
        "| c | – |",
    ]


def test_intervals_can_be_left_out():
    assert number("score", "score", ".1f", interval=False).cell(ROWS[0]) == "1.2"


def test_csv_has_all_names_in_order_of_their_first_row():
    rows = [{"a": 1, "b": None}, {"a": 2.5, "c": "x, y"}]
    assert csv_table(rows) == b'a,b,c\n1,,\n2.5,,"x, y"\n'
