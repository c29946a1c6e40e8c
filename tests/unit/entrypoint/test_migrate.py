"""The newest revision, read from the text of the migrations."""

from __future__ import annotations

import pytest
from entrypoint.errors import MigrationFailed
from entrypoint.migrate import revisions

BASE = 'revision: str = "aa01"\ndown_revision: Union[str, None] = None\n'
NEXT = "revision = 'bb02'\ndown_revision = 'aa01'\n"


def test_the_newest_revision_is_the_one_that_no_other_builds_on() -> None:
    assert revisions([NEXT, BASE]) == ({"aa01", "bb02"}, "bb02")


def test_words_in_a_migration_are_not_taken_for_its_revision() -> None:
    assert (
        revisions([BASE, NEXT + '"""Revises: cc03\n# revision of the schema = "dd04"\n"""'])[1]
        == "bb02"
    )


@pytest.mark.parametrize("sources", [[], [BASE, 'revision = "cc03"\ndown_revision = None\n']])
def test_no_or_several_newest_revisions_mean_a_broken_image(sources: list[str]) -> None:
    with pytest.raises(MigrationFailed, match="this image is broken"):
        revisions(sources)
