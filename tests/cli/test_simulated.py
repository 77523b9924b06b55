"""What a newcomer runs first: `serve --simulate` and the demo."""

import os
import re
import signal
import subprocess
import sys

from sidecar.cli.demo import AUDIENCES, MESSAGES

FREE_PORTS = {f"PUSH_SIDECAR_{name}__LISTEN": "127.0.0.1:0" for name in ("SERVER", "HEALTH", "ADMIN")}


def test_serve_simulate_makes_a_push_says_how_to_make_the_next_and_stops_cleanly() -> None:
    environment = {**os.environ, **FREE_PORTS}
    with subprocess.Popen(
        [sys.executable, "-m", "sidecar", "serve", "--simulate"],
        env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        assert process.stdout is not None
        assert process.stderr is not None
        text = ""
        for line in process.stdout:
            text += line
            if line.startswith("Metrics:"):
                break
        target = re.search(r"serves gRPC on (\S+);", text)
        assert target is not None
        assert re.search(r"push_id \d+, accepted after 1 call", text)
        advised = re.search(r"\.venv/bin/push-sidecar (send .* --trace)\n", text)
        assert advised is not None
        sent = subprocess.run(
            [sys.executable, "-m", "sidecar", *advised[1].split()], capture_output=True, text=True, check=False
        )
        process.send_signal(signal.SIGINT)
        rest = process.stdout.read()
        log = process.stderr.read()
        assert process.wait(30) == 0
    assert (sent.returncode, rest.strip()) == (0, "")
    assert log.count(" push answered app=demo-android ") == 2, "a line for each push"
    assert f"--target {target[1]}" in advised[1]
    assert "outcome: accepted" in sent.stdout
    assert "POST /v3/push/app" in sent.stdout


def test_demo_makes_a_push_of_every_audience_and_every_message_type() -> None:
    result = subprocess.run(
        [sys.executable, "-m", "sidecar.cli.demo"], capture_output=True, text=True, check=False, timeout=60
    )
    assert result.returncode == 0, result.stderr
    for message in MESSAGES:
        for audience in AUDIENCES:
            assert re.search(rf"^{message}\s+{audience}\s+accepted\s+\d+\s+[\d.]+ ms", result.stdout, re.MULTILINE)
    assert "24 of 24 pushes accepted" in result.stdout
    assert result.stdout.count("request.body.sent") == 2


def test_the_demo_knows_every_choice_of_the_contract() -> None:
    from pushsidecar.xg.v1 import PushRequest  # noqa: PLC0415

    oneofs = {oneof.name: {field.name for field in oneof.fields} for oneof in PushRequest.DESCRIPTOR.oneofs}
    assert oneofs["audience"] == set(AUDIENCES)
    assert oneofs["message"] == set(MESSAGES)


def test_help_of_every_verb_has_examples() -> None:
    for verb in ("serve", "simulate", "send", "check", "wait", "hash-target"):
        result = subprocess.run(
            [sys.executable, "-m", "sidecar", verb, "--help"], capture_output=True, text=True, check=False
        )
        assert result.returncode == 0
        assert f"push-sidecar {verb}" in result.stdout.split("examples:")[1]
