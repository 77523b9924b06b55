"""Which tests stay in one process when several processes run them: those of a file, and the groups named here.

With the marker that pytest-xdist has for groups, 3.8 splits them under pytest 9.2: it writes an id that is not read.
"""

import pytest
from xdist.scheduler import LoadScopeScheduling

# By the start of the path. Those of the callers build with Maven into the folder of its sources; the others share one
# image, one Prometheus. The groups that take longest come first, so that none is left alone at the end.
GROUPS = {
    "tests/image/": "image",
    "tests/interop/": "callers",
    "tests/jaeger/": "callers",
    "tests/test_clients.py": "callers",
    "tests/deploy/": "deploy",
    "tests/fuzz/test_answers.py": "answers",
    "tests/fuzz/test_configuration.py": "configuration",
}
_ORDER = list(dict.fromkeys(GROUPS.values()))


def group_of(nodeid: str) -> str:
    """Return the group of a test, or its file."""
    return next((name for start, name in GROUPS.items() if nodeid.startswith(start)), nodeid.partition("::")[0])


def put_groups_first(items: list[pytest.Item]) -> None:
    """Sort tests so that those of groups come before the others."""

    def place(item: pytest.Item) -> int:
        group = group_of(item.nodeid)
        return _ORDER.index(group) if group in _ORDER else len(_ORDER)

    items.sort(key=place)


class GroupScheduling(LoadScopeScheduling):
    """Gives a process one group or file after the other."""

    def _split_scope(self, nodeid: str) -> str:
        return group_of(nodeid)
