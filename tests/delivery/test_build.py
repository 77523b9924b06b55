"""A lane as it is built from an app's configuration, before a raw TLS vendor."""

from pathlib import Path

import pytest

from sidecar.config import AppConfig, Config, ConfigError
from sidecar.delivery.build import Delivery
from sidecar.delivery.lane import Outgoing
from sidecar.telemetry.metrics import Metrics
from sidecar.transport.reply import Reply
from tests.support.certificates import Authority
from tests.support.fake_vendor import SINGLE, Caller
from tests.support.raw_server import serve_forever, serving


def app(base_url: str, ca_file: Path) -> AppConfig:
    return AppConfig(platform="android", base_url=base_url, app_id="1", secret_key_env="KEY", ca_file=ca_file)


def delivery(config: AppConfig) -> Delivery:
    return Delivery(Config(apps={"shop": config}), Metrics("test"))


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

        def read(reply: Reply, attempt: int) -> tuple[int, int]:
            return reply.status, attempt

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
