"""What the table of cases (tests/contract) cannot say of the rendering."""

from pushsidecar.xg.v1 import AndroidMessage, PushRequest
from sidecar.providers.xg.render import render


def test_what_is_rendered_shows_nothing_of_the_push() -> None:
    rendered = render(PushRequest(token="planted", android_message=AndroidMessage(title="planted", content="planted")))
    assert b"planted" in rendered.body
    assert "planted" not in repr(rendered) + str(rendered)
