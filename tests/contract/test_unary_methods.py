"""Which methods a helper's retry policy names: what is unary, of every service of ours, and nothing else."""

from types import ModuleType

import pytest
from google.protobuf.descriptor_pb2 import FileDescriptorProto, FileDescriptorSet, ServiceDescriptorProto

from pushsidecar.unary_methods import UNARY_METHODS
from tests.support.contract_build import load


@pytest.fixture(scope="module")
def build() -> ModuleType:
    """Give the module that generates the names."""
    return load("build")


def test_new_service_is_named_and_a_stream_is_not(build: ModuleType) -> None:
    push = ServiceDescriptorProto(name="PushService")
    push.method.add(name="Push")
    push.method.add(name="PushStream", client_streaming=True, server_streaming=True)
    push.method.add(name="Upload", client_streaming=True)
    push.method.add(name="Watch", server_streaming=True)
    device = ServiceDescriptorProto(name="DeviceService")
    device.method.add(name="UpdateTags")
    foreign = ServiceDescriptorProto(name="Health")
    foreign.method.add(name="Check")
    image = FileDescriptorSet(
        file=[
            FileDescriptorProto(
                name="pushsidecar/xg/v1/push_service.proto", package="pushsidecar.xg.v1", service=[push]
            ),
            FileDescriptorProto(name="pushsidecar/tpns/v1/d.proto", package="pushsidecar.tpns.v1", service=[device]),
            FileDescriptorProto(name="grpc/health/v1/health.proto", package="grpc.health.v1", service=[foreign]),
        ]
    )
    assert build.unary_methods(image) == [
        ("pushsidecar.tpns.v1.DeviceService", "UpdateTags"),
        ("pushsidecar.xg.v1.PushService", "Push"),
    ]


def test_committed_names_are_whole_methods() -> None:
    """An entry without a method is for all of a service, and `{}` for all services, streams included."""
    assert {"service": "pushsidecar.xg.v1.PushService", "method": "Push"} in UNARY_METHODS
    assert all(set(name) == {"service", "method"} and all(name.values()) for name in UNARY_METHODS)
