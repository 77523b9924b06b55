"""What is shipped for callers of any language."""

import pytest
from google.protobuf.descriptor_pb2 import FileDescriptorProto, FileDescriptorSet

from tests.support.process import ROOT


@pytest.fixture(scope="session")
def plain_files() -> dict[str, FileDescriptorProto]:
    """Give the files of the descriptor set, by name."""
    content = (ROOT / "clients/proto/pushsidecar.binpb").read_bytes()
    return {file.name: file for file in FileDescriptorSet.FromString(content).file}
