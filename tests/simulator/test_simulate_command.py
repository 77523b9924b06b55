"""The verb `simulate`: what it prints is what works, and it stops when it is told to."""

import argparse
import json
import re
import signal
import socket
import ssl
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path

import pytest
import yaml

from sidecar.cli import simulate

COMMAND = """
import argparse, sys
from sidecar.cli import simulate
parser = argparse.ArgumentParser(prog="push-sidecar")
simulate.add_parser(parser.add_subparsers())
args = parser.parse_args()
sys.exit(args.run(args))
"""


def start(*flags):
    return subprocess.Popen(
        [sys.executable, "-c", COMMAND, "simulate", "--listen", "127.0.0.1:0", *flags],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def read_greeting(process):
    lines = []
    for line in process.stdout:
        lines.append(line)
        if line.startswith("Stop it"):
            return "".join(lines)
    pytest.fail(f"it ended early: {process.stderr.read()}")


def parse(*flags):
    parser = argparse.ArgumentParser()
    simulate.add_parser(parser.add_subparsers())
    return parser.parse_args(["simulate", *flags])


def stop(process, number):
    process.send_signal(number)
    out, err = process.communicate(timeout=60)
    return process.returncode, out, err


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_printed_configuration_works_and_the_signal_ends_it_cleanly(tmp_path, number, authorization):
    ca_out = tmp_path / "ca.pem"
    process = start("--ca-out", str(ca_out), "--quota", "0")
    greeting = read_greeting(process)
    block = re.search(r"^  apps:\n(?:    .*\n)+", greeting, re.MULTILINE)
    assert block is not None, greeting
    apps = yaml.safe_load(block[0])["apps"]
    assert set(apps) == {"demo-android", "demo-ios"}
    app = apps["demo-android"]
    assert (app["provider"], app["platform"], app["ca_file"]) == ("xg", "android", str(ca_out))
    credentials = authorization(app["app_id"], Path(app["secret_key_file"]).read_text())
    body = {
        "audience_type": "all",
        "platform": "android",
        "message_type": "notify",
        "message": {"title": "t", "content": "c"},
    }
    request = urllib.request.Request(  # noqa: S310 - our own address
        f"{app['base_url']}/v3/push/app",
        data=json.dumps(body).encode(),
        headers={"Authorization": credentials, "Content-Type": "application/json"},
    )
    context = ssl.create_default_context(cafile=ca_out)
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(request, context=context, timeout=5)  # noqa: S310
    assert caught.value.code == 429
    caught.value.close()
    assert stop(process, number) == (0, "", "")


def test_without_tls_no_configuration_is_advised_since_a_sidecar_would_refuse_it():
    process = start("--no-tls")
    greeting = read_greeting(process)
    assert "address  http://127.0.0.1:" in greeting
    assert "A sidecar cannot use it: it speaks HTTPS only." in greeting
    assert "base_url" not in greeting
    assert stop(process, signal.SIGTERM)[0] == 0


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--no-tls", "--ca-out", "x.pem"], "--ca-out needs TLS"),
        (["--ca-out", "/nonexistent/ca.pem"], "/nonexistent/ca.pem"),
        (["--listen", "nowhere"], "must be HOST:PORT"),
        (["--quota", "many"], "must be a whole number, or none"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(flags, said):
    process = start(*flags)
    _, err = process.communicate(timeout=60)
    assert process.returncode in {1, 2}
    assert said in err.splitlines()[-1]
    assert "Traceback" not in err


def test_busy_port_is_said_in_one_line():
    with socket.create_server(("127.0.0.1", 0)) as held:
        port = held.getsockname()[1]
        process = start("--listen", f"127.0.0.1:{port}")
        _, err = process.communicate(timeout=60)
    assert process.returncode == 1
    assert err.startswith(f"push-sidecar simulate: cannot run on 127.0.0.1 port {port}: ")
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    ("text", "address"),
    [("127.0.0.1:8443", ("127.0.0.1", 8443)), ("[::1]:0", ("::1", 0)), ("localhost:65535", ("localhost", 65535))],
)
def test_address(text, address):
    assert parse("--listen", text).listen == address


@pytest.mark.parametrize("text", ["", ":8443", "localhost", "localhost:", "localhost:65536", "localhost:-1", "8443"])
def test_bad_address(text, capsys):
    with pytest.raises(SystemExit):
        parse("--listen", text)
    assert "must be HOST:PORT" in capsys.readouterr().err


def test_defaults():
    args = parse()
    assert (args.listen, args.quota, args.no_tls, args.ca_out) == (("127.0.0.1", 8443), 30, False, None)
    assert parse("--quota", "none").quota is None


def test_help_has_examples(capsys):
    with pytest.raises(SystemExit) as ended:
        parse("--help")
    assert ended.value.code == 0
    assert "push-sidecar simulate --listen 127.0.0.1:0 --ca-out ca.pem" in capsys.readouterr().out
