package io.github.pushsidecar.client;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTimeoutPreemptively;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.google.protobuf.Any;
import com.google.protobuf.ByteString;
import com.google.protobuf.Message;
import com.google.rpc.BadRequest;
import com.google.rpc.ErrorInfo;
import com.google.rpc.RetryInfo;
import io.github.pushsidecar.type.v1.ErrorReason;
import io.github.pushsidecar.xg.v1.PushResponse;
import io.grpc.Metadata;
import io.grpc.Status;
import io.grpc.StatusException;
import io.grpc.StatusRuntimeException;
import io.grpc.protobuf.StatusProto;
import java.time.Duration;
import java.util.List;
import java.util.Optional;
import java.util.OptionalInt;
import java.util.OptionalLong;
import java.util.concurrent.ExecutionException;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;
import org.junit.jupiter.params.provider.ValueSource;

class PushErrorTest {
  private static final Metadata.Key<byte[]> DETAILS =
      Metadata.Key.of("grpc-status-details-bin", Metadata.BINARY_BYTE_MARSHALLER);

  static ErrorInfo info(String reason, String... metadata) {
    ErrorInfo.Builder info = ErrorInfo.newBuilder().setDomain("push-sidecar").setReason(reason);
    for (int i = 0; i < metadata.length; i += 2) {
      info.putMetadata(metadata[i], metadata[i + 1]);
    }
    return info.build();
  }

  static StatusRuntimeException error(Status.Code code, Message... details) {
    com.google.rpc.Status.Builder status =
        com.google.rpc.Status.newBuilder().setCode(code.value()).setMessage("what happened");
    for (Message detail : details) {
      status.addDetails(Any.pack(detail));
    }
    return StatusProto.toStatusRuntimeException(status.build());
  }

  private static StatusRuntimeException errorWithTrailer(Status.Code code, byte[] details) {
    Metadata trailers = new Metadata();
    trailers.put(DETAILS, details);
    return code.toStatus().asRuntimeException(trailers);
  }

  private static void assertNotOurs(PushError error, Status.Code code) {
    assertEquals(code, error.code());
    assertEquals(Sent.MAYBE, error.sent());
    assertEquals(ErrorReason.ERROR_REASON_UNSPECIFIED, error.reason());
    assertEquals("", error.reasonText());
    assertFalse(error.wasNotSent());
  }

  @Test
  void everythingThatTheVendorSaidIsRead() {
    PushError error =
        PushError.of(
            error(
                Status.Code.NOT_FOUND,
                info("TARGET_UNKNOWN", "sent", "no", "vendor_code", "10303", "vendor_message", "no such token",
                    "http_status", "200", "attempts", "2", "push_id", "3147483648", "seq", "9007199254740993",
                    "environment", "product"),
                PushResponse.newBuilder().setVendorCode(10303).build()));

    assertEquals(Status.Code.NOT_FOUND, error.code());
    assertEquals(ErrorReason.ERROR_REASON_TARGET_UNKNOWN, error.reason());
    assertEquals("TARGET_UNKNOWN", error.reasonText());
    assertEquals(Sent.NO, error.sent());
    assertTrue(error.wasNotSent());
    assertEquals(OptionalInt.of(10303), error.vendorCode());
    assertEquals(Optional.of("no such token"), error.vendorMessage());
    assertEquals(OptionalInt.of(200), error.httpStatus());
    assertEquals(OptionalInt.of(2), error.attempts());
    assertEquals("what happened", error.message());
    assertEquals(Optional.of("3147483648"), error.pushId());
    assertEquals(OptionalLong.of(9007199254740993L), error.seq());
    assertEquals(Optional.of("product"), error.environment());
    assertEquals(Optional.of(10303), error.response().map(PushResponse::getVendorCode));
    assertEquals(Optional.empty(), error.retryAfter());
    assertEquals(List.of(), error.violations());
  }

  @Test
  void retryInfoIsRead() {
    RetryInfo retry =
        RetryInfo.newBuilder()
            .setRetryDelay(com.google.protobuf.Duration.newBuilder().setSeconds(1).setNanos(500_000_000))
            .build();
    PushError error = PushError.of(error(Status.Code.RESOURCE_EXHAUSTED, retry, info("OVERLOADED", "sent", "no")));

    assertEquals(Optional.of(Duration.ofMillis(1500)), error.retryAfter());
    assertEquals(ErrorReason.ERROR_REASON_OVERLOADED, error.reason());
    assertEquals(OptionalInt.empty(), error.vendorCode());
  }

  @Test
  void violationsAreReadInOrder() {
    BadRequest request =
        BadRequest.newBuilder()
            .addFieldViolations(
                BadRequest.FieldViolation.newBuilder()
                    .setField("token_list.tokens[3]")
                    .setReason("string.max_len")
                    .setDescription("must be at most 64 characters"))
            .addFieldViolations(
                BadRequest.FieldViolation.newBuilder().setField("message").setReason("required"))
            .build();
    PushError error =
        PushError.of(error(Status.Code.INVALID_ARGUMENT, info("INVALID_REQUEST", "sent", "no"), request));

    assertEquals(
        List.of(
            new Violation("token_list.tokens[3]", "string.max_len", "must be at most 64 characters"),
            new Violation("message", "required", "")),
        error.violations());
  }

  @ParameterizedTest
  @EnumSource(
      value = ErrorReason.class,
      mode = EnumSource.Mode.EXCLUDE,
      names = {"ERROR_REASON_UNSPECIFIED", "UNRECOGNIZED"})
  void everyReasonOfTheContractIsRead(ErrorReason reason) {
    String name = reason.name().substring("ERROR_REASON_".length());
    assertEquals(reason, PushError.of(error(Status.Code.INTERNAL, info(name, "sent", "no"))).reason());
  }

  @Test
  void reasonOfANewerSidecarKeepsItsNameAndItsAnswer() {
    PushError error = PushError.of(error(Status.Code.UNAVAILABLE, info("MOON_PHASE", "sent", "no")));
    assertEquals(ErrorReason.UNRECOGNIZED, error.reason());
    assertEquals("MOON_PHASE", error.reasonText());
    assertEquals(Sent.NO, error.sent());
  }

  @ParameterizedTest
  @ValueSource(strings = {"maybe", "", "NO", "yes"})
  void onlyTheWordNoMeansNotSent(String sent) {
    assertEquals(Sent.MAYBE, PushError.of(error(Status.Code.UNKNOWN, info("NOT_SENT", "sent", sent))).sent());
  }

  @Test
  void errorInfoWithoutSentIsMaybe() {
    assertEquals(Sent.MAYBE, PushError.of(error(Status.Code.UNAVAILABLE, info("NOT_SENT"))).sent());
  }

  @ParameterizedTest
  @EnumSource(
      value = Status.Code.class,
      names = {"UNAVAILABLE", "CANCELLED", "DEADLINE_EXCEEDED", "INTERNAL", "RESOURCE_EXHAUSTED"})
  void errorOfAGrpcLibraryIsMaybe(Status.Code code) {
    assertNotOurs(PushError.of(code.toStatus().asRuntimeException()), code);
    assertNotOurs(PushError.of(code.toStatus().asRuntimeException(new Metadata())), code);
  }

  @Test
  void errorInfoOfAnotherDomainIsMaybe() {
    ErrorInfo other =
        ErrorInfo.newBuilder().setDomain("proxy.example").setReason("NOT_SENT").putMetadata("sent", "no").build();
    assertNotOurs(PushError.of(error(Status.Code.UNAVAILABLE, other)), Status.Code.UNAVAILABLE);
  }

  @Test
  void errorInfoOfAnotherDomainDoesNotHideOurs() {
    ErrorInfo other = ErrorInfo.newBuilder().setDomain("proxy.example").build();
    assertEquals(
        Sent.NO, PushError.of(error(Status.Code.UNAVAILABLE, other, info("NOT_SENT", "sent", "no"))).sent());
  }

  @Test
  void detailsOfAnotherCodeAreMaybe() {
    byte[] details =
        com.google.rpc.Status.newBuilder()
            .setCode(Status.Code.UNAVAILABLE.value())
            .addDetails(Any.pack(info("NOT_SENT", "sent", "no")))
            .build()
            .toByteArray();
    assertNotOurs(PushError.of(errorWithTrailer(Status.Code.CANCELLED, details)), Status.Code.CANCELLED);
  }

  @Test
  void detailsThatCannotBeReadAreMaybe() {
    assertNotOurs(
        PushError.of(errorWithTrailer(Status.Code.UNAVAILABLE, new byte[] {(byte) 0xff, 1, 2})),
        Status.Code.UNAVAILABLE);
    Any broken =
        Any.pack(info("NOT_SENT", "sent", "no")).toBuilder()
            .setValue(ByteString.copyFrom(new byte[] {(byte) 0xff}))
            .build();
    byte[] details =
        com.google.rpc.Status.newBuilder()
            .setCode(Status.Code.UNAVAILABLE.value())
            .addDetails(broken)
            .build()
            .toByteArray();
    assertNotOurs(PushError.of(errorWithTrailer(Status.Code.UNAVAILABLE, details)), Status.Code.UNAVAILABLE);
  }

  @Test
  void numberThatIsNoneIsAbsent() {
    PushError error = PushError.of(error(Status.Code.UNKNOWN, info("OUTCOME_UNKNOWN", "vendor_code", "many", "seq", "")));
    assertEquals(OptionalInt.empty(), error.vendorCode());
    assertEquals(OptionalLong.empty(), error.seq());
    assertEquals(ErrorReason.ERROR_REASON_OUTCOME_UNKNOWN, error.reason());
  }

  @Test
  void messageIsOneLine() {
    Status status = Status.DEADLINE_EXCEEDED.withDescription("deadline exceeded\n\tat io.grpc.Something");
    assertEquals("deadline exceeded", PushError.of(status.asRuntimeException()).message());
    assertEquals("", PushError.of(Status.DEADLINE_EXCEEDED.asRuntimeException()).message());
  }

  @Test
  void statusIsFoundBehindOtherExceptions() {
    StatusRuntimeException error = error(Status.Code.UNAVAILABLE, info("SHUTTING_DOWN", "sent", "no"));
    assertEquals(Sent.NO, PushError.of(new ExecutionException(error)).sent());
    StatusException checked = new StatusException(error.getStatus(), error.getTrailers());
    assertEquals(Sent.NO, PushError.of(new IllegalStateException(checked)).sent());
  }

  @Test
  void circleOfCausesWithoutStatusIsMaybe() {
    Exception first = new Exception("first");
    Exception second = new Exception("second", first);
    first.initCause(second);
    PushError error = assertTimeoutPreemptively(Duration.ofSeconds(10), () -> PushError.of(first));
    assertNotOurs(error, Status.Code.UNKNOWN);
  }

  @Test
  void exceptionWithoutStatusIsMaybe() {
    assertNotOurs(PushError.of(new IllegalStateException("something else")), Status.Code.UNKNOWN);
    assertNotOurs(PushError.of(null), Status.Code.UNKNOWN);
  }

  @Test
  void textNamesTheFactsAndNoTextOfTheVendor() {
    PushError error =
        PushError.of(
            error(
                Status.Code.INVALID_ARGUMENT,
                info("VENDOR_REJECTED", "sent", "no", "vendor_code", "10103", "vendor_message", "bad token-of-a-phone"),
                BadRequest.newBuilder()
                    .addFieldViolations(
                        BadRequest.FieldViolation.newBuilder()
                            .setField("token")
                            .setReason("string.max_len")
                            .setDescription("described"))
                    .build(),
                PushResponse.newBuilder().setResultJson("token-of-a-phone").build()));
    assertEquals(
        "PushError[code=INVALID_ARGUMENT, reason=VENDOR_REJECTED, sent=NO, vendorCode=10103, token: string.max_len]",
        error.toString());
    assertEquals(
        "PushError[code=UNAVAILABLE, reason=-, sent=MAYBE]",
        PushError.of(Status.UNAVAILABLE.withDescription("io exception").asRuntimeException()).toString());
  }

  @Test
  void whatTheSidecarDoesNotSayIsAbsent() {
    PushError error = PushError.of(error(Status.Code.UNAVAILABLE, info("NOT_SENT", "sent", "no")));
    assertEquals(
        List.of(OptionalInt.empty(), OptionalInt.empty(), OptionalInt.empty()),
        List.of(error.vendorCode(), error.httpStatus(), error.attempts()));
    assertEquals(
        List.of(Optional.empty(), Optional.empty(), Optional.empty(), Optional.empty(), Optional.empty()),
        List.of(error.vendorMessage(), error.retryAfter(), error.pushId(), error.environment(), error.response()));
    assertEquals(OptionalLong.empty(), error.seq());
  }
}
