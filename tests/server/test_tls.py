"""TLS and mutual TLS for callers, and certificates that change while calls are made."""

import asyncio
import logging
import os
import shutil
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa

from pushsidecar.xg.v1.push_service_pb2_grpc import PushServiceStub
from sidecar.app import Sidecar, problems_of
from sidecar.config import ConfigError, TlsConfig
from sidecar.server.tls import check_tls, read_certificates
from sidecar.simulator import Simulator
from tests.conftest import Configure, StartSidecar
from tests.support.certificates import Authority, Leaf
from tests.support.running import Running, android
from tests.support.waiting import until, until_metric


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


def tls_of(leaf: Leaf, client_ca: Path | None = None) -> dict[str, str]:
    files = {"cert_file": str(leaf.cert_file), "key_file": str(leaf.key_file)}
    return files if client_ca is None else {**files, "client_ca_file": str(client_ca)}


@asynccontextmanager
async def caller(running: Running, ca_file: Path, leaf: Leaf | None = None) -> AsyncIterator[PushServiceStub]:
    """Connect with TLS, by a connection of one's own."""
    credentials = grpc.ssl_channel_credentials(
        ca_file.read_bytes(),
        private_key=leaf.key_file.read_bytes() if leaf else None,
        certificate_chain=leaf.cert_file.read_bytes() if leaf else None,
    )
    # A socket's path is no host name.
    name = [("grpc.ssl_target_name_override", "localhost")] if running.sidecar.grpc_address.startswith("unix:") else []
    options = [("grpc.use_local_subchannel_pool", 1), ("grpc.enable_retries", 0), *name]
    async with grpc.aio.secure_channel(running.sidecar.grpc_address, credentials, options) as channel:
        yield PushServiceStub(channel)


async def refusal(stub: PushServiceStub) -> grpc.StatusCode:
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await stub.Push(android(), timeout=10)
    return refused.value.code()


async def test_callers_connect_with_tls_and_not_without(
    start_sidecar: StartSidecar, authority: Authority, vendor: Simulator
) -> None:
    running = await start_sidecar(server={"listen": "127.0.0.1:0", "tls": tls_of(authority.leaf())})
    async with caller(running, authority.ca_file) as stub:
        assert (await stub.Push(android(), timeout=10)).attempts == 1
    assert await refusal(running.stub) is grpc.StatusCode.UNAVAILABLE
    async with caller(running, vendor.ca_file) as stub:
        assert await refusal(stub) is grpc.StatusCode.UNAVAILABLE
    assert vendor.received == 1


@pytest.mark.parametrize("kind", ["rsa", "p384"])
async def test_other_kinds_of_keys(start_sidecar: StartSidecar, authority: Authority, kind: str) -> None:
    keys = {
        "rsa": lambda: rsa.generate_private_key(65537, 2048),
        "p384": lambda: ec.generate_private_key(ec.SECP384R1()),
    }
    running = await start_sidecar(server={"listen": "127.0.0.1:0", "tls": tls_of(authority.leaf(key=keys[kind]()))})
    async with caller(running, authority.ca_file) as stub:
        assert (await stub.Push(android(), timeout=10)).attempts == 1


def test_private_key_is_not_shown(authority: Authority) -> None:
    leaf = authority.leaf()
    shown = repr(read_certificates("server.tls", TlsConfig(cert_file=leaf.cert_file, key_file=leaf.key_file)))
    assert "PRIVATE" not in shown
    assert "BEGIN CERTIFICATE" in shown


async def test_mutual_tls_wants_a_certificate_of_the_right_authority(
    start_sidecar: StartSidecar, authority: Authority, vendor: Simulator, tmp_path: Path
) -> None:
    (tmp_path / "other").mkdir()
    stranger = Authority(tmp_path / "other").leaf("spiffe://example/orders")
    running = await start_sidecar(server={"listen": "127.0.0.1:0", "tls": tls_of(authority.leaf(), authority.ca_file)})
    async with caller(running, authority.ca_file, authority.leaf("spiffe://example/orders")) as stub:
        assert (await stub.Push(android(), timeout=10)).attempts == 1
    for leaf in (None, stranger, authority.leaf("spiffe://example/orders", is_expired=True)):
        async with caller(running, authority.ca_file, leaf) as stub:
            assert await refusal(stub) is grpc.StatusCode.UNAVAILABLE
    assert vendor.received == 1


async def test_unix_socket_may_have_tls(start_sidecar: StartSidecar, authority: Authority, tmp_path: Path) -> None:
    tls = tls_of(authority.leaf("localhost"))
    running = await start_sidecar(server={"listen": f"unix:{tmp_path / 'push.sock'}", "tls": tls})
    async with caller(running, authority.ca_file) as stub:
        assert (await stub.Push(android(), timeout=10)).attempts == 1


class Volume:
    """A secret as Kubernetes mounts it: files are links into a folder that is swapped as a whole."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._versions = 0
        path.mkdir()

    def put(self, leaf: Leaf, client_ca: Path) -> dict[str, str]:
        """Swap in other files; returns them as a listener's `tls`."""
        self._versions += 1
        version = self._path / f"..{self._versions}"
        version.mkdir()
        files = {"cert_file": leaf.cert_file, "key_file": leaf.key_file, "client_ca_file": client_ca}
        for name, source in files.items():
            shutil.copy(source, version / name)
            if not (self._path / name).is_symlink():
                (self._path / name).symlink_to(f"..data/{name}")
        (self._path / "..next").symlink_to(version.name)
        os.replace(self._path / "..next", self._path / "..data")  # noqa: PTH105  # as the kubelet does
        return {name: str(self._path / name) for name in files}


async def test_new_certificate_is_shown_without_dropping_connections(
    start_sidecar: StartSidecar, authority: Authority, tmp_path: Path
) -> None:
    for name in ("next", "last"):
        (tmp_path / name).mkdir()
    following, volume = Authority(tmp_path / "next"), Volume(tmp_path / "volume")
    old, new = authority.leaf("spiffe://example/orders"), following.leaf("spiffe://example/orders")
    tls = volume.put(authority.leaf(), authority.ca_file)
    running = await start_sidecar(server={"listen": "127.0.0.1:0", "tls": tls}, secrets={"reload_interval_s": 0.02})
    async with caller(running, authority.ca_file, old) as connected:
        assert (await connected.Push(android(), timeout=10)).attempts == 1
        volume.put(following.leaf(), following.ca_file)

        async def is_shown() -> bool:
            async with caller(running, following.ca_file, new) as stub:
                try:
                    return (await stub.Push(android(), timeout=10)).attempts == 1
                except grpc.aio.AioRpcError:
                    return False

        async with asyncio.timeout(10):
            while not await is_shown():  # noqa: ASYNC110  # nothing tells of it
                await asyncio.sleep(0.01)
        assert (await connected.Push(android(), timeout=10)).attempts == 1, "the old connection lives on"
    async with caller(running, authority.ca_file, old) as stub:
        assert await refusal(stub) is grpc.StatusCode.UNAVAILABLE


async def test_new_authority_of_the_callers_alone_is_taken_over(
    start_sidecar: StartSidecar, authority: Authority, tmp_path: Path
) -> None:
    (tmp_path / "next").mkdir()
    following, volume, server = Authority(tmp_path / "next"), Volume(tmp_path / "volume"), authority.leaf()
    tls = volume.put(server, authority.ca_file)
    running = await start_sidecar(server={"listen": "127.0.0.1:0", "tls": tls}, secrets={"reload_interval_s": 0.02})
    volume.put(server, following.ca_file)
    async with asyncio.timeout(10):
        while True:
            async with caller(running, authority.ca_file, following.leaf("spiffe://example/orders")) as stub:
                try:
                    assert (await stub.Push(android(), timeout=10)).attempts == 1
                    break
                except grpc.aio.AioRpcError:
                    await asyncio.sleep(0.01)


async def test_bad_new_certificate_leaves_the_last_good_one_and_is_alarmed(
    start_sidecar: StartSidecar, authority: Authority, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    volume, leaf = Volume(tmp_path / "volume"), authority.leaf("spiffe://example/orders")
    good = authority.leaf()
    tls = volume.put(good, authority.ca_file)
    running = await start_sidecar(server={"listen": "127.0.0.1:0", "tls": tls}, secrets={"reload_interval_s": 0.02})
    stale = 'push_sidecar_certificate_stale{listener="default"} '
    await until_metric(running.sidecar.admin_address, stale + "0.0")
    with caplog.at_level(logging.INFO):
        volume.put(Leaf(good.cert_file, authority.leaf().key_file), authority.ca_file)
        await until_metric(running.sidecar.admin_address, stale + "1.0")
        async with caller(running, authority.ca_file, leaf) as stub:
            assert (await stub.Push(android(), timeout=10)).attempts == 1
        volume.put(authority.leaf(lives_s=3600), authority.ca_file)
        await until_metric(running.sidecar.admin_address, stale + "0.0")
        await until(lambda: "certificate changed" in caplog.messages)
    assert expiry(running) < time.time() + 3700, "of the new one"
    assert caplog.messages.count("certificate cannot be used, the last good one is") == 1
    assert "is not the key of the certificate" in next(
        str(record.why) for record in caplog.records if record.levelname == "ERROR"
    )


async def test_end_of_the_certificate_is_a_metric(start_sidecar: StartSidecar, authority: Authority) -> None:
    running = await start_sidecar(server={"listen": "127.0.0.1:0", "tls": tls_of(authority.leaf())})
    from_then_s = expiry(running) - (authority.ca_file.stat().st_mtime + 86400)
    assert abs(from_then_s) < 60, "a test's certificates end a day after they were made"


def expiry(running: Running) -> float:
    (line,) = (
        line
        for line in running.sidecar.metrics.exposition().decode().splitlines()
        if line.startswith('push_sidecar_certificate_expiry_timestamp_seconds{listener="default"}')
    )
    return float(line.split()[1])


WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "no-key": ({"key_file": None}, r"server\.tls\.key_file: is required beside the other"),
    "no-certificate": ({"cert_file": None}, r"server\.tls\.cert_file: is required beside the other"),
    "only-a-client-ca": ({"cert_file": None, "key_file": None}, r"server\.tls\.client_ca_file: needs cert_file and"),
    "missing-file": ({"cert_file": "none.pem"}, r"server\.tls\.cert_file: cannot read none\.pem: No such file"),
    "no-pem": ({"cert_file": "junk.pem"}, r"server\.tls\.cert_file: .*junk\.pem holds no PEM that can be used"),
    "certificate-as-key": ({"key_file": "ca.pem"}, r"server\.tls\.key_file: .*ca\.pem holds no PEM that can be used"),
    "key-with-passphrase": ({"key_file": "locked.key"}, r"server\.tls\.key_file: .*locked\.key holds a key with a"),
    "other-key": ({"key_file": "other.key"}, r"server\.tls\.key_file: .*other\.key is not the key of the certificate"),
    "not-yet-valid": (
        {"cert_file": "early.pem", "key_file": "early.key"},
        r"server\.tls\.cert_file: the certificate in .* is not valid yet",
    ),
    **{
        f"key-of-{name}": (
            {"cert_file": f"{name}.pem", "key_file": f"{name}.key"},
            rf"server\.tls\.key_file: .*{name}\.key must be a key of RSA, P-256 or P-384",
        )
        for name in ("ed25519", "ed448", "secp256k1", "secp224r1", "secp521r1")
    },
    "expired": (
        {"cert_file": "expired.pem", "key_file": "expired.key"},
        r"server\.tls\.cert_file: the certificate in .* has expired",
    ),
    "client-ca": ({"client_ca_file": "junk.pem"}, r"server\.tls\.client_ca_file: .*junk\.pem holds no PEM that can be"),
}


@pytest.mark.parametrize(("changes", "said"), WRONG.values(), ids=WRONG)
def test_files_that_cannot_be_used_refuse_to_start(
    tmp_path: Path, authority: Authority, changes: dict[str, Any], said: str
) -> None:
    leaf = authority.leaf()
    others = {
        "expired": authority.leaf(is_expired=True),
        "early": authority.leaf(lives_s=20 * 86400),
        "ed25519": authority.leaf(key=ed25519.Ed25519PrivateKey.generate()),
        "ed448": authority.leaf(key=ed448.Ed448PrivateKey.generate()),
        "secp256k1": authority.leaf(key=ec.generate_private_key(ec.SECP256K1())),
        "secp224r1": authority.leaf(key=ec.generate_private_key(ec.SECP224R1())),
        "secp521r1": authority.leaf(key=ec.generate_private_key(ec.SECP521R1())),
    }
    for name, other in others.items():
        shutil.copy(other.cert_file, tmp_path / f"{name}.pem")
        shutil.copy(other.key_file, tmp_path / f"{name}.key")
    (tmp_path / "junk.pem").write_text("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
    shutil.copy(authority.leaf().key_file, tmp_path / "other.key")
    key = serialization.load_pem_private_key(leaf.key_file.read_bytes(), None)
    locked = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.BestAvailableEncryption(b"word")
    )
    (tmp_path / "locked.key").write_bytes(locked)
    files: dict[str, Path | None] = {
        "cert_file": leaf.cert_file, "key_file": leaf.key_file, "client_ca_file": authority.ca_file
    }  # fmt: skip
    for name, value in changes.items():
        files[name] = None if value is None else Path(value) if value == "none.pem" else tmp_path / value
    with pytest.raises(ConfigError, match=f"^{said}") as refused:
        check_tls("server.tls", TlsConfig(**files))
    assert "BEGIN" not in str(refused.value)


async def test_wrong_certificate_is_found_by_the_check_and_at_the_start(
    configure: Configure, authority: Authority
) -> None:
    leaf = authority.leaf()
    config = configure(listeners={"orders": {"listen": "127.0.0.1:0", "tls": {"cert_file": str(leaf.cert_file)}}})
    problem = "listeners.orders.tls.key_file: is required beside the other"
    assert problems_of(config, {}) == [problem]
    with pytest.raises(ConfigError) as refused:
        async with Sidecar(config, {}):
            pytest.fail("it started")
    assert str(refused.value) == problem
