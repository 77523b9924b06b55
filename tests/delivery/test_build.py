"""A lane as it is built from an app's configuration, before a raw TLS vendor."""

from pathlib import Path
from typing import Any

import pytest

from sidecar.config import AppConfig, BreakerConfig, Config, ConfigError
from sidecar.delivery.build import Delivery
from sidecar.delivery.outgoing import Outgoing
from sidecar.errors import NotSent, OutcomeUnknown
from sidecar.telemetry.metrics import Metrics
from sidecar.transport.reply import Reply
from tests.support.certificates import Authority
from tests.support.fake_vendor import SINGLE, Caller
from tests.support.raw_server import RawConnection, serve_forever, serving


def app(base_url: str, ca_file: Path | None, **rest: Any) -> AppConfig:
    return AppConfig(platform="android", base_url=base_url, app_id="1", secret_key_env="KEY", ca_file=ca_file, **rest)


def delivery(config: AppConfig, **sections: Any) -> Delivery:
    return Delivery(Config(apps={"shop": config}, **sections), Metrics("test"))


def read(reply: Reply, attempt: int) -> tuple[int, int]:
    return reply.status, attempt


@pytest.mark.parametrize(
    ("prefix", "path"),
    [
        ("", "/v3/push/app"),
        ("/", "/v3/push/app"),
        ("/gateway", "/gateway/v3/push/app"),
        ("/gateway/", "/gateway/v3/push/app"),
    ],
)
async def test_path_is_added_to_the_base_url(prefix: str, path: str, tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    async with serving(serve_forever, authority.server_context()) as server:
        config = app(f"https://127.0.0.1:{server.port}{prefix}", authority.ca_file)
        lane = delivery(config).build_lane("shop", config, "/v3/push/app", ())
        answer = await lane.deliver(Caller().call(), Outgoing({}, b"body", SINGLE, True), read)
        await lane.aclose()
        assert answer == (200, 1)
        assert server.requests[0].line == f"POST {path} HTTP/1.1"
        await server.wait_all_closed()


async def test_unusable_ca_file_names_its_key(tmp_path: Path) -> None:
    garbage = tmp_path / "ca.pem"
    garbage.write_text("no certificate")
    for ca_file in (garbage, tmp_path / "missing.pem"):
        with pytest.raises(ConfigError, match=r"^apps\.shop\.ca_file: "):
            delivery(app("https://127.0.0.1", ca_file)).build_lane(
                "shop", app("https://127.0.0.1", ca_file), "/v3/push/app", ()
            )


@pytest.mark.parametrize(
    ("other", "is_shared"),
    [
        pytest.param({}, True, id="same"),
        pytest.param({"max_in_flight": 3}, True, id="other-places"),
        pytest.param({"connect_timeout_s": 0.1}, False, id="other-connect-timeout"),
        pytest.param({"read_timeout_s": 0.1}, False, id="other-read-timeout"),
        pytest.param({"total_timeout_s": 20.0}, False, id="other-total-timeout"),
        pytest.param({"proxy": "http://127.0.0.1:1"}, False, id="other-proxy"),
        pytest.param({"base_url": "https://127.0.0.1:2"}, False, id="other-port"),
    ],
)
async def test_apps_share_a_breaker_where_they_reach_the_host_alike(other: dict[str, Any], *, is_shared: bool) -> None:
    """A port where nobody listens opens the breaker of one app, and that of the other only if it is the same."""
    first, second = (
        app("https://127.0.0.1:1", None),
        app(**{"base_url": "https://127.0.0.1:1", "ca_file": None, **other}),
    )
    built = delivery(first, breaker=BreakerConfig(min_calls=1, open_s=3600))
    lanes = [built.build_lane(name, config, "/", ()) for name, config in (("first", first), ("second", second))]
    with pytest.raises(NotSent):
        await lanes[0].deliver(Caller().call(), Outgoing({}, b"body", SINGLE, True), read)
    states: dict[str, Any] = {name: status["breaker"] for name, status in built.status().items()}
    assert states["first"]["state"] == "open"
    assert states["second"]["state"] == ("open" if is_shared else "closed")
    for lane in lanes:
        await lane.aclose()


async def test_impatient_app_opens_its_own_breaker_alone(tmp_path: Path) -> None:
    """A vendor that takes a moment is silent for the one, and answers the other."""
    authority = Authority(tmp_path)

    async def script(connection: RawConnection) -> None:
        if connection.index > 0:
            await serve_forever(connection)
        else:
            await connection.read_request()
            await connection.read_eof()

    async with serving(script, authority.server_context()) as server:
        url = f"https://127.0.0.1:{server.port}"
        impatient, patient = app(url, authority.ca_file, read_timeout_s=0.1), app(url, authority.ca_file)
        metrics = Metrics("test")
        config = Config(apps={"a": impatient, "b": patient}, breaker=BreakerConfig(min_calls=1, open_s=3600))
        built = Delivery(config, metrics)
        lanes = {name: built.build_lane(name, each, "/", ()) for name, each in config.apps.items()}
        with pytest.raises(OutcomeUnknown):
            await lanes["a"].deliver(Caller().call(), Outgoing({}, b"body", SINGLE, True), read)
        with pytest.raises(NotSent, match="tried again later"):
            await lanes["a"].deliver(Caller().call(), Outgoing({}, b"body", SINGLE, True), read)
        assert await lanes["b"].deliver(Caller().call(), Outgoing({}, b"body", SINGLE, True), read) == (200, 1)
        host = f"127.0.0.1:{server.port}"
        values = {
            name: metrics.registry.get_sample_value("push_sidecar_breaker_state", {"app": name, "host": host})
            for name in lanes
        }
        assert values == {"a": 2, "b": 0}
        for lane in lanes.values():
            await lane.aclose()
        await server.wait_all_closed()
