"""What the lock file asks for on a given machine."""

import re
from collections.abc import Iterator, Mapping

from packaging.requirements import Requirement

from tests.support.buildah import ROOT


def locked(environment: Mapping[str, str]) -> Iterator[tuple[Requirement, str]]:
    """Give each requirement that holds in a marker environment, and its entry: name, version and hashes, no marker."""
    text = (ROOT / "requirements.lock").read_text()
    for stated, hashes in re.findall(r"^([a-z0-9].*?) \\\n((?:    --hash=\S+(?: \\)?\n)+)", text, re.MULTILINE):
        requirement = Requirement(stated)
        if requirement.marker is None or requirement.marker.evaluate(dict(environment)):
            yield requirement, f"{requirement.name}{requirement.specifier} \\\n{hashes}"
