"""Which step a sampled stack is counted for."""

from collections import Counter

import pytest

from bench.programs import ROOT
from bench.steps import PYTHON, native_steps, python_steps, shares

PACKAGES = "/venv/lib/python3.11/site-packages"
LIBPYTHON = "/usr/lib/libpython3.11.so.1.0"
UVLOOP = f"{PACKAGES}/uvloop/loop.cpython-311-x86_64-linux-gnu.so"


def _native(*frames: str) -> str:
    return "\n".join(["python 77 ", *(f"\t    7f1a {frame}" for frame in frames)])


@pytest.mark.parametrize(
    ("frames", "step"),
    [
        ((f"_PyEval_EvalFrameDefault ({LIBPYTHON})", f"[unknown] ({UVLOOP})"), PYTHON),
        (("malloc (/lib/libc.so.6)", f"_PyEval_EvalFrameDefault ({LIBPYTHON})"), PYTHON),
        (
            ("tcp_sendmsg ([kernel.kallsyms])", "__send (/lib/libc.so.6)", f"uv__write ({UVLOOP})"),
            "event loop and socket I/O (uvloop)",
        ),
        (
            (
                "aesni_gcm_encrypt (/lib/libcrypto.so.3)",
                "SSL_write (/lib/libssl.so.3)",
                f"[unknown] ({UVLOOP})",
            ),
            "TLS (OpenSSL)",
        ),
        (
            (f"[unknown] ({PACKAGES}/grpc/_cython/cygrpc.cpython-311-x86_64-linux-gnu.so)",),
            "gRPC core and its Cython layer (grpc)",
        ),
        (("do_idle ([kernel.kallsyms])",), "other of thread python"),
    ],
    ids=["python", "libc for python", "kernel for uvloop", "tls", "grpc", "kernel alone"],
)
def test_innermost_library_that_does_a_step_is_counted(frames: tuple[str, ...], step: str) -> None:
    assert native_steps(_native(*frames) + "\n\n") == Counter([step])


def test_python_sample_counts_for_the_innermost_file_outside_the_standard_library() -> None:
    own = f"push ({ROOT}/sidecar/delivery/call.py:40)"
    client = f"request ({PACKAGES}/aiohttp/client.py:500)"
    stacks = [
        f"main (/app/x.py:1);{own};{client};quote (/usr/lib/python3.11/urllib/parse.py:9) 5",
        f"{own};_PyEval_Vector (/tmp/build/Python-3.11/Python/ceval.c:10) 3",
        f"{own};eval_frame (/tmp/build/Python-3.11/Python/ceval.c:7);list_new (Objects/listobject.c:8) 2",
        f"{own};uv__read (/project/build/libuv/src/unix/stream.c:1063);read (/lib/libc.so.6) 100",
        f"{own};validate ({PACKAGES}/protovalidate/_protovalidate.abi3.so) 100",
    ]

    assert python_steps(stacks) == Counter({"aiohttp": 5, "sidecar.delivery.call": 5})


def test_share_of_python_code_is_divided_as_py_spy_saw_it() -> None:
    found = shares(Counter({PYTHON: 60, "TLS (OpenSSL)": 40}), Counter({"aiohttp": 3, "sidecar.delivery.call": 1}))

    assert found == pytest.approx(
        {"TLS (OpenSSL)": 0.4, "aiohttp (Python)": 0.45, "sidecar.delivery.call (Python)": 0.15}
    )
