"""The verb `check`: what it says of the listeners, of the callers, and where nobody may call."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from sidecar.__main__ import main
from tests.support.certificates import Authority


@pytest.fixture
def check(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> "Check":
    return Check(tmp_path, capsys)


class Check:
    """Checks a configuration with two apps; returns the lines that follow the one of the addresses."""

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.folder, self._capsys = folder, capsys
        (folder / "secret").write_text("s3cret-value")

    def __call__(self, **sections: Any) -> list[str]:
        app = {
            "platform": "android",
            "base_url": "https://push.example",
            "app_id": "a",
            "secret_key_file": str(self.folder / "secret"),
        }
        file = self.folder / "config.yaml"
        file.write_text(yaml.safe_dump({"apps": {"shop": app, "news": app}, **sections}, sort_keys=False))
        assert main(["check", "--config", str(file)]) == 0
        return self._capsys.readouterr().out.splitlines()[1:]

    def tls(self) -> dict[str, str]:
        authority = Authority(self.folder)
        leaf = authority.leaf()
        files = {"cert_file": leaf.cert_file, "key_file": leaf.key_file, "client_ca_file": authority.ca_file}
        return {key: str(path) for key, path in files.items()}


APPS = ["shop xg android https://push.example valid", "news xg android https://push.example valid"]


def test_each_listener_and_each_caller_has_a_line(check: Check) -> None:
    socket, tls = f"unix:{check.folder}/orders.sock", check.tls()
    lines = check(
        server={"listen": "127.0.0.1:7001", "tls": tls},
        listeners={
            "orders": {"listen": socket, "socket_group": "100"},
            "inner": {"listen": "127.0.0.1:7002", "tls": {**tls, "client_ca_file": None}},
        },
        callers={
            "orders": {"listener": "orders", "apps": ["shop"], "rate": "100/second"},
            "billing": {"san": ["spiffe://example.org/billing", "billing.example.org"]},
        },
    )
    assert lines == [
        "listener default 127.0.0.1:7001 mutual-tls callers=billing",
        f"listener orders {socket} mode=0660,group=100,cleartext callers=orders",
        "listener inner 127.0.0.1:7002 tls nobody may call",
        "caller orders listener=orders apps=shop rate=100/second",
        "caller billing san=spiffe://example.org/billing,billing.example.org apps=all rate=none",
        *APPS,
    ]


def test_certificate_counts_on_its_own_listener_alone(check: Check) -> None:
    tls = check.tls()
    lines = check(
        server={"listen": "127.0.0.1:7001", "tls": tls},
        listeners={"other": {"listen": "127.0.0.1:7002", "tls": tls}},
        callers={"billing": {"san": ["billing.example.org"], "listener": "other"}},
    )
    assert lines[:3] == [
        "listener default 127.0.0.1:7001 mutual-tls nobody may call",
        "listener other 127.0.0.1:7002 mutual-tls callers=billing",
        "caller billing san=billing.example.org,listener=other apps=all rate=none",
    ]


def test_without_callers_anybody_with_a_certificate_may_call(check: Check) -> None:
    lines = check(server={"listen": "127.0.0.1:7001", "tls": check.tls()})
    assert lines == [
        "listener default 127.0.0.1:7001 mutual-tls anybody with a certificate of its client_ca_file may call",
        *APPS,
    ]


def test_callers_without_any_app_are_nobody(check: Check) -> None:
    socket = f"unix:{check.folder}/orders.sock"
    lines = check(
        listeners={"orders": {"listen": socket}}, callers={"orders": {"listener": "orders", "apps": []}}
    )  # fmt: skip
    assert lines == [
        "note: nobody may call: no caller has an app",
        "listener default 127.0.0.1:50051 cleartext nobody may call",
        f"listener orders {socket} mode=0660,cleartext nobody may call",
        "caller orders listener=orders apps=none rate=none",
        *APPS,
    ]


def test_app_that_no_caller_may_use_is_named(check: Check) -> None:
    lines = check(
        listeners={"orders": {"listen": f"unix:{check.folder}/orders.sock"}},
        callers={"orders": {"listener": "orders", "apps": ["shop"]}},
    )
    assert lines[0] == "note: nobody may use the app news: no caller has it in its apps"


def test_terminal_shows_the_same_in_tables(check: Check, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "200")
    text = "\n".join(
        check(
            listeners={"orders": {"listen": "unix:/tmp/orders.sock"}},
            callers={"orders": {"listener": "orders", "rate": "5/second"}},
        )
    )
    for cell in ("mode=0660,cleartext", "callers=orders", "nobody may call", "rate=5/second", "shop", "valid"):
        assert cell in text
    assert "known by" in text
