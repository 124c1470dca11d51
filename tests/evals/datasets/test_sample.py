from __future__ import annotations

import tracemalloc
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ggship.errors import UsageError
from ggship.evals.datasets.model import Broken, Example, Item
from ggship.evals.datasets.overlap import normalised
from ggship.evals.datasets.sample import Sample, take_sample
from ggship.runtimes.model import Message


def row(line: int, question: str, answer: str = "a") -> Example:
    return Example(line, (Message(role="user", content=question),), answer)


def questions(sample: Sample) -> list[str]:
    return [one.example.questions[0] for one in sample.chosen]


# Words of which no two are alike: numbers alone would make questions that are nearly the same.
WORDS = [
    f"{word} {number:03d} {word[::-1]}" for number, word in enumerate(("deposit", "marriage", "tenancy", "will") * 30)
]
ROWS = [row(number, question) for number, question in enumerate(WORDS)]


def test_the_same_seed_takes_the_same_whatever_the_order() -> None:
    taken = questions(take_sample(ROWS, take=10, near=0.9))
    assert len(set(taken)) == 10
    assert set(questions(take_sample(ROWS[::-1], take=10, near=0.9))) == set(taken)
    assert set(questions(take_sample(ROWS, take=10, seed=7, near=0.9))) != set(taken)


@given(st.integers(0, 99), st.integers(1, 30))
@settings(max_examples=30, deadline=None)
def test_rows_added_elsewhere_only_push_out(seed: int, take: int) -> None:
    before = set(questions(take_sample(ROWS[:60], take=take, seed=seed, near=0.9)))
    after = set(questions(take_sample(ROWS, take=take, seed=seed, near=0.9)))
    assert after & {one.questions[0] for one in ROWS[:60]} <= before


def test_a_question_is_taken_once_however_often_it_stands_there() -> None:
    rows = [row(number, ("Same?", "same ?", "ＳＡＭＥ")[number % 3]) for number in range(30)] + [row(99, "Other")]
    sample = take_sample(rows, take=5, near=0.9)
    assert len(sample.chosen) == 2
    assert "only 2 different questions were found, 5 were wanted" in sample.remarks()


def test_questions_that_come_again_and_again_crowd_nothing_out() -> None:
    rows = [row(number, f"{number % 900 * 7919}") for number in range(2_700)]
    assert len(set(questions(take_sample(rows, take=60, near=0.9)))) == 60


def test_what_was_trained_on_is_left_out_and_told() -> None:
    rows = [
        row(2, "How long does copyright last?"),
        row(3, "What is mediation, and who pays?"),
        row(4, "Who inherits?"),
    ]
    training = [
        row(7, "HOW LONG DOES  COPYRIGHT LAST"),
        row(8, "What is mediation and who pays it?"),
        Broken(9, 9, "bad"),
    ]
    sample = take_sample(rows, take=5, training=[training], near=0.9)
    assert questions(sample) == ["Who inherits?"]
    matches = {one.example.line: one.trained for one in sample.left_out}
    assert matches[2] is not None
    assert (matches[2].line, matches[2].exact) == (7, True)
    assert matches[3] is not None
    assert (matches[3].line, matches[3].exact) == (8, False)
    assert matches[3].similarity >= 0.9
    assert sample.training_broken[0].line == 9
    assert any("1 the same, 1 at least 0.9 alike (line 2 is line 7 there)" in line for line in sample.remarks())


def test_the_other_splits_take_the_others() -> None:
    training = [[ROWS[3], ROWS[5]]]
    assert sorted(questions(take_sample(ROWS, take=9, split="trained", training=training, near=1.0))) == sorted(
        [WORDS[3], WORDS[5]]
    )
    both = take_sample(ROWS, take=len(ROWS), split="all", training=training, near=1.0)
    assert sum(one.trained is not None for one in both.chosen) == 2
    with pytest.raises(UsageError, match="not known"):
        take_sample(ROWS, take=1, split="trained", near=0.9)


def test_a_question_within_a_trained_conversation_counts() -> None:
    talk = (Message(role="user", content="Hello"), Message(role="assistant", content="Hi"), ROWS[0].messages[0])
    sample = take_sample(ROWS[:1], take=1, training=[[Example(1, talk, "a")]], near=0.9)
    assert sample.chosen == ()


def test_enough_are_found_where_nearly_all_were_trained_on() -> None:
    rows = [row(number, f"{number * 7919} {number}") for number in range(2_000)]
    sample = take_sample(rows, take=20, training=[rows[:1_970]], near=1.0)
    assert len(sample.chosen) == 20
    assert all(one.example.line >= 1_970 for one in sample.chosen)


def test_without_training_data_nothing_is_proven_and_it_says_so() -> None:
    assert any("--train" in line for line in take_sample(ROWS, take=3, near=0.9).remarks())


def test_memory_grows_with_the_sample_and_not_with_the_data() -> None:
    def rows(count: int) -> Iterator[Item]:
        return (row(number, f"{number * 7919} question") for number in range(count))

    class Again:
        def __init__(self, count: int) -> None:
            self.count = count

        def __iter__(self) -> Iterator[Item]:
            return rows(self.count)

    def peak(count: int) -> int:
        tracemalloc.start()
        try:
            take_sample(Again(count), take=20, split="all", training=[Again(count)], near=0.9)
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    assert peak(3_000) < peak(1_000) * 1.3 + 100_000


@given(st.text(max_size=40))
def test_normalising_twice_changes_nothing_more(text: str) -> None:
    assert normalised(normalised(text)) == normalised(text)
