package io.github.pushsidecar.interop;

import static org.junit.jupiter.api.Assertions.assertEquals;

import com.google.gson.JsonElement;
import com.google.gson.JsonParser;
import com.google.protobuf.Any;
import com.google.rpc.ErrorInfo;
import com.google.rpc.RetryInfo;
import io.github.pushsidecar.client.FakeSidecar;
import io.grpc.Status;
import io.grpc.protobuf.StatusProto;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.PrintStream;
import java.io.StringReader;
import java.nio.charset.StandardCharsets;
import java.util.List;
import org.junit.jupiter.api.Test;

class RunnerTest {
  private static final String REQUEST = "{\"all\": {}, \"android_message\": {\"title\": \"t\", \"content\": \"c\"}}";

  private static List<JsonElement> run(FakeSidecar fake, String... lines) throws IOException {
    ByteArrayOutputStream output = new ByteArrayOutputStream();
    Runner.run(fake.target(), 1, new StringReader(String.join("\n", lines)), new PrintStream(output, true));
    return output.toString(StandardCharsets.UTF_8).lines().map(JsonParser::parseString).toList();
  }

  @Test
  void everyLineIsAnsweredInTurn() throws IOException {
    com.google.rpc.Status full =
        com.google.rpc.Status.newBuilder()
            .setCode(Status.Code.RESOURCE_EXHAUSTED.value())
            .setMessage("full")
            .addDetails(
                Any.pack(
                    ErrorInfo.newBuilder()
                        .setDomain("push-sidecar")
                        .setReason("OVERLOADED")
                        .putMetadata("sent", "no")
                        .putMetadata("http_status", "429")
                        .putMetadata("attempts", "2")
                        .putMetadata("push_id", "8589934592")
                        .build()))
            .addDetails(
                Any.pack(
                    RetryInfo.newBuilder()
                        .setRetryDelay(com.google.protobuf.Duration.newBuilder().setSeconds(2))
                        .build()))
            .build();
    try (FakeSidecar fake =
        FakeSidecar.answering(
            call -> {
              if (call.number() == 1) {
                call.accept();
              } else {
                call.fail(StatusProto.toStatusRuntimeException(full));
              }
            })) {
      assertEquals(
          List.of(
              JsonParser.parseString(
                  """
                  {"name": "first", "code": "OK", "message": "", "response": {"pushId": "42"}, "error": null,
                   "details": [], "trailers": []}"""),
              JsonParser.parseString(
                  """
                  {"name": "second", "code": "RESOURCE_EXHAUSTED", "message": "full", "response": null,
                   "error": {"reason": "OVERLOADED", "sent": "no", "vendor_code": null, "http_status": 429, "attempts": 2,
                             "push_id": "8589934592", "retry_after_s": 2.0,
                             "violations": []},
                   "details": ["google.rpc.ErrorInfo", "google.rpc.RetryInfo"],
                   "trailers": ["content-type", "grpc-status-details-bin"]}""")),
          run(
              fake,
              "{\"name\": \"first\", \"request\": " + REQUEST + ", \"timeout_s\": null}",
              "{\"name\": \"second\", \"request\": " + REQUEST + ", \"timeout_s\": 10}"));
    }
  }

  @Test
  void timeoutIsTheDeadline() throws IOException {
    try (FakeSidecar fake = FakeSidecar.answering(call -> {})) {
      JsonElement answer =
          run(fake, "{\"name\": \"late\", \"request\": " + REQUEST + ", \"timeout_s\": 0.2}").get(0);
      assertEquals("DEADLINE_EXCEEDED", answer.getAsJsonObject().get("code").getAsString());
      assertEquals(
          JsonParser.parseString(
              """
              {"reason": "", "sent": "maybe", "vendor_code": null, "http_status": null, "attempts": null,
               "push_id": "", "retry_after_s": null, "violations": []}"""),
          answer.getAsJsonObject().get("error"));
    }
  }
}
