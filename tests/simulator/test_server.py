"""The server: TLS with its own authority, ports, loops, clean end."""

import asyncio
import http.client
import io
import json
import socket
import ssl
import subprocess
import sys

import aiohttp
import pytest
import uvloop

from sidecar.simulator import Fault, Kind, Simulator


async def until(happened):
    for _ in range(2000):
        if happened():
            return
        await asyncio.sleep(0.001)
    pytest.fail("it did not happen within 2 seconds")


async def test_valid_push_is_accepted_recorded_and_delivered(sim, push):
    status, answer = await push(seq=9)
    push_id = answer.pop("push_id")
    assert status == 200
    assert answer == {"seq": 9, "ret_code": 0, "environment": "product", "err_msg": "", "result": "[0]"}
    (record,) = sim.records
    assert (record.method, record.path, record.status) == ("POST", "/v3/push/app", 200)
    assert record.body["token_list"] == ["token1"]
    assert json.loads(record.text) == record.body
    assert (record.is_complete, record.was_delivered, record.fault) == (True, True, None)
    assert record.answer["push_id"] == push_id
    (delivery,) = sim.deliveries
    assert (delivery.number, delivery.push_id, delivery.targets) == (record.number, push_id, ("token1",))
    assert (sim.received, sim.delivered) == (1, 1)


async def test_record_has_no_credentials(sim, push, authorization):
    await push()
    (record,) = sim.records
    assert record.headers["authorization"] == "[redacted]"
    assert authorization() not in repr(record) + json.dumps(record.to_json())


async def test_secrets_and_targets_stay_out_of_repr(sim, push):
    await push()
    for thing in (sim.android, sim.records[0], sim.deliveries[0], Fault(kind=Kind.SLOW)):
        assert "token1" not in repr(thing)
        assert "not-a-secret" not in repr(thing)


async def test_one_keep_alive_connection_has_one_number(sim, push):
    for _ in range(3):
        await push()
    assert {record.connection for record in sim.records} == {1}
    assert [record.number for record in sim.records] == [1, 2, 3]


async def test_authority_is_needed(sim):
    async with aiohttp.ClientSession(base_url=sim.base_url) as session:
        with pytest.raises(aiohttp.ClientConnectorCertificateError):
            await session.post("/v3/push/app", json={})


@pytest.mark.parametrize("name", ["localhost", "127.0.0.1", "push.example"])
async def test_certificate_is_for_loopback_and_given_names(name):
    async with Simulator(names=["push.example"]) as sim:
        context = ssl.create_default_context(cafile=sim.ca_file)
        context.verify_flags |= ssl.VERIFY_X509_STRICT
        _, writer = await asyncio.open_connection(
            "127.0.0.1", sim.port, ssl=context, server_hostname=name, ssl_handshake_timeout=5
        )
        writer.close()
        await writer.wait_closed()


@pytest.mark.skipif(not socket.has_ipv6, reason="no IPv6 here")
async def test_ipv6():
    async with Simulator("::1") as sim:
        assert sim.base_url == f"https://[::1]:{sim.port}"
        context = ssl.create_default_context(cafile=sim.ca_file)
        connector = aiohttp.TCPConnector(ssl=context)
        async with (
            aiohttp.ClientSession(connector=connector) as session,
            session.get(f"{sim.base_url}/_sim/apps") as answer,
        ):
            assert answer.status == 200


async def test_private_keys_are_not_left_on_disk(sim):
    assert [path.name for path in sim.directory.iterdir()] == ["simulator-ca.pem"]
    assert "PRIVATE" not in sim.ca_file.read_text()
    assert sim.directory.stat().st_mode & 0o077 == 0


async def test_end_removes_files_and_listener():
    async with Simulator() as sim:
        directory, port = sim.directory, sim.port
        assert directory.is_dir()
    assert not directory.exists()
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection("127.0.0.1", port)


async def test_busy_port_leaves_no_files(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with socket.create_server(("127.0.0.1", 0)) as held, pytest.raises(OSError, match="in use"):
        await Simulator(port=held.getsockname()[1]).__aenter__()
    assert list(tmp_path.iterdir()) == []


async def test_without_tls():
    async with Simulator(tls=False) as sim, aiohttp.ClientSession(base_url=sim.base_url) as session:
        assert sim.base_url == f"http://127.0.0.1:{sim.port}"
        async with session.get("/_sim/apps") as answer:
            assert answer.status == 200
        with pytest.raises(RuntimeError, match="without TLS"):
            _ = sim.ca_file


def test_not_started_has_no_address():
    with pytest.raises(RuntimeError, match="not been started"):
        _ = Simulator().base_url


async def test_hanging_request_does_not_hold_up_the_end(body):
    async with Simulator(tls=False) as sim:
        sim.script(Fault(kind=Kind.HANG))
        session = aiohttp.ClientSession(base_url=sim.base_url)
        pending = asyncio.create_task(session.post("/v3/push/app", json=body()))
        await until(lambda: sim.records)
    with pytest.raises(aiohttp.ClientError):
        await pending
    await session.close()


async def test_too_large_body_is_413(sim, client):
    async with client.post("/v3/push/app", data=io.BytesIO(b" " * (8 * 1024 * 1024 + 1))) as answer:
        assert answer.status == 413
    (record,) = sim.records
    assert (record.is_complete, record.status) == (False, 413)


async def test_cut_off_request_is_recorded_as_incomplete(sim):
    context = ssl.create_default_context(cafile=sim.ca_file)
    _, writer = await asyncio.open_connection("127.0.0.1", sim.port, ssl=context, server_hostname="localhost")
    writer.write(b"POST /v3/push/app HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nonly this")
    await writer.drain()
    writer.close()
    await writer.wait_closed()
    await until(lambda: sim.records)
    (record,) = sim.records
    assert (record.is_complete, record.status, record.was_delivered) == (False, None, False)


async def test_expect_100_continue_is_answered(sim, body, authorization):
    def call() -> tuple[int, object]:
        context = ssl.create_default_context(cafile=sim.ca_file)
        payload = json.dumps(body()).encode()
        head = (
            f"POST /v3/push/app HTTP/1.1\r\nHost: x\r\nAuthorization: {authorization()}\r\n"
            f"Content-Type: application/json\r\nExpect: 100-continue\r\n"
            f"Content-Length: {len(payload)}\r\n\r\n"
        )
        raw = socket.create_connection(("127.0.0.1", sim.port), timeout=5)
        with raw, context.wrap_socket(raw, server_hostname="localhost") as tls:
            tls.sendall(head.encode())
            assert tls.recv(1000) == b"HTTP/1.1 100 Continue\r\n\r\n"
            tls.sendall(payload)
            answer = http.client.HTTPResponse(tls)
            answer.begin()
            return answer.status, json.loads(answer.read())["ret_code"]

    assert await asyncio.to_thread(call) == (200, 0)


async def test_idle_connection_is_closed_after_the_keep_alive_time(body, authorization):
    async with Simulator(tls=False, keepalive_timeout_s=0.02) as sim:
        reader, writer = await asyncio.open_connection("127.0.0.1", sim.port)
        writer.write(b"GET /_sim/tasks HTTP/1.1\r\nHost: x\r\n\r\n")
        assert b"200 OK" in await asyncio.wait_for(reader.read(), 5)
        writer.close()
        await writer.wait_closed()


async def test_reset_forgets_everything_but_the_start(sim, push):
    await push()
    sim.android.register_devices(["new"])
    sim.script(Fault(kind=Kind.HTTP, status=500))
    sim.reset()
    assert (sim.records, sim.deliveries, sim.received, sim.delivered) == ([], [], 0, 0)
    assert (await push(token_list=["new"]))[1]["ret_code"] == 10110


async def test_clock_is_the_given_one(body, authorization):
    now = 5000.0
    async with Simulator(tls=False, clock=lambda: now) as sim:
        headers = {"Authorization": authorization()}
        async with aiohttp.ClientSession(base_url=sim.base_url, headers=headers) as session:
            await session.post("/v3/push/app", json=body())
        assert (sim.records[0].time, sim.deliveries[0].time) == (5000.0, 5000.0)


@pytest.mark.parametrize("kind", [Kind.RESET_AFTER_BODY, Kind.RESET_BEFORE_BODY])
def test_on_uvloop(kind, body, authorization):
    async def main() -> None:
        async with Simulator() as sim:
            context = ssl.create_default_context(cafile=sim.ca_file)
            async with aiohttp.ClientSession(
                base_url=sim.base_url,
                headers={"Authorization": authorization()},
                connector=aiohttp.TCPConnector(ssl=context),
            ) as session:
                async with session.post("/v3/push/app", json=body()) as answer:
                    assert (await answer.json())["ret_code"] == 0
                sim.script(Fault(kind=kind))
                with pytest.raises(aiohttp.ClientError):
                    await session.post("/v3/push/app", json=body())

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main())


def test_shares_no_code_with_the_rest_of_the_package():
    script = (
        "import sys, sidecar.simulator\n"
        "names = [name + '.' for name in sys.modules if name.startswith('sidecar.')]\n"
        "print([name for name in names if not name.startswith('sidecar.simulator.')])\n"
        "print('pushsidecar' in sys.modules, 'grpc' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\nFalse False\n"
