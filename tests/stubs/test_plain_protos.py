"""The proto files of `clients/proto`: the contract without its rules, and nothing else taken away."""

import importlib
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
import yaml
from google.protobuf.descriptor_pb2 import FileDescriptorProto, FileDescriptorSet
from google.protobuf.message import Message

from tests.support.contract_build import load
from tests.support.process import ROOT

CONTRACT = ROOT / "proto"
OURS = sorted(str(path.relative_to(CONTRACT)) for path in (CONTRACT / "pushsidecar").rglob("*.proto"))

# Stands for buf's: the options have the same names and number.
VALIDATE = """\
syntax = "proto2";
package buf.validate;
import "google/protobuf/descriptor.proto";
message Rules { optional string text = 1; repeated Rules cel = 2; }
extend google.protobuf.MessageOptions { optional Rules message = 1159; }
extend google.protobuf.OneofOptions { optional Rules oneof = 1159; }
extend google.protobuf.FieldOptions { optional Rules field = 1159; }
"""
WITH_RULES = r"""syntax = "proto3";

package made.v1;

import "buf/validate/validate.proto";
import "google/protobuf/duration.proto";

// Speaks of import "buf/validate/validate.proto" and [(buf.validate.field).required = true].
message Made {
  // Says why the rule is there,
  // in two lines.
  option (buf.validate.message).text = "; ] // no comment";
  option (buf.validate.message).cel = {
    text: "option [deprecated = true];"
  };
  option deprecated = true;

  // Only a rule.
  string only = 1 [(buf.validate.field).text = "a]\"; // no comment"];
  string before = 2 [
    (buf.validate.field).text = "b,",
    deprecated = true
  ];
  string after = 3 [
    deprecated = true,
    json_name = "danach",
    (buf.validate.field) = {text: "c"}
  ]; // beside it
  string none = 4 [deprecated = true];
  oneof choice {
    option (buf.validate.oneof).text = "d";
    // A choice.
    google.protobuf.Duration chosen = 5 [(buf.validate.field).text = "e"];
  }
}

enum Kind {
  KIND_UNSPECIFIED = 0;
  KIND_OLD = 1 [deprecated = true];
}
"""
WITHOUT_RULES = """syntax = "proto3";

package made.v1;

import "google/protobuf/duration.proto";

// Speaks of import "buf/validate/validate.proto" and [(buf.validate.field).required = true].
message Made {
  option deprecated = true;

  // Only a rule.
  string only = 1;
  string before = 2 [deprecated = true];
  string after = 3 [deprecated = true, json_name = "danach"]; // beside it
  string none = 4 [deprecated = true];
  oneof choice {
    // A choice.
    google.protobuf.Duration chosen = 5;
  }
}

enum Kind {
  KIND_UNSPECIFIED = 0;
  KIND_OLD = 1 [deprecated = true];
}
"""


@pytest.fixture(scope="module")
def plain_protos() -> ModuleType:
    """Give the module that writes them."""
    return load("plain_protos")


def compiled(folder: Path, name: str) -> FileDescriptorProto:
    image = folder / "image.binpb"
    buf = Path(sys.executable).with_name("buf")
    subprocess.run([buf, "build", folder, "-o", image], check=True)
    files = FileDescriptorSet.FromString(image.read_bytes()).file
    return next(file for file in files if file.name == name)


def test_rules_are_taken_out_and_nothing_else(plain_protos: ModuleType, tmp_path: Path) -> None:
    (tmp_path / "buf/validate").mkdir(parents=True)
    (tmp_path / "buf/validate/validate.proto").write_text(VALIDATE)
    (tmp_path / "made.proto").write_text(WITH_RULES)
    assert plain_protos.without_rules(WITH_RULES, compiled(tmp_path, "made.proto")) == WITHOUT_RULES


def test_file_without_rules_stays_as_it_is(plain_protos: ModuleType, tmp_path: Path) -> None:
    (tmp_path / "made.proto").write_text(WITHOUT_RULES)
    assert plain_protos.without_rules(WITHOUT_RULES, compiled(tmp_path, "made.proto")) == WITHOUT_RULES


def drop_rules(message: Message) -> None:
    """Take the rules out of a descriptor; where nobody has registered them they are unknown fields."""
    for field, value in message.ListFields():
        if field.message_type is None:
            continue
        for child in [value] if isinstance(value, Message) else value:
            drop_rules(child)
        if field.name == "options":
            value.DiscardUnknownFields()
            for option, _ in value.ListFields():
                if option.is_extension:
                    value.ClearExtension(option)
            if not value.ListFields():
                message.ClearField("options")


def drop_json_names(message: Message) -> None:
    """Take out what some compilers write and others leave to the reader."""
    for field, value in message.ListFields():
        if field.message_type is not None:
            for child in [value] if isinstance(value, Message) else value:
                drop_json_names(child)
        elif field.name == "json_name":
            message.ClearField("json_name")


@pytest.mark.parametrize("name", OURS)
def test_descriptor_set_says_what_the_contract_says(name: str, plain_files: dict[str, FileDescriptorProto]) -> None:
    contract = FileDescriptorProto()
    module = importlib.import_module(name.removesuffix(".proto").replace("/", ".") + "_pb2")
    module.DESCRIPTOR.CopyToProto(contract)
    drop_rules(contract)
    plain = FileDescriptorProto()
    plain.CopyFrom(plain_files[name])
    plain.ClearField("source_code_info")
    for file in (contract, plain):
        drop_json_names(file)
    assert plain == contract


def test_buf_fetches_the_rules_that_the_build_uses() -> None:
    (dependency,) = yaml.safe_load((CONTRACT / "buf.yaml").read_text())["deps"]
    module, _, version = load("build").PROTOVALIDATE_MODULE.partition("@")
    assert module == "github.com/bufbuild/protovalidate"
    assert dependency == f"buf.build/bufbuild/protovalidate:{version}"
