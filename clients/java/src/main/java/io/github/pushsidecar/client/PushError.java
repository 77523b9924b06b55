package io.github.pushsidecar.client;

import com.google.protobuf.Any;
import com.google.protobuf.InvalidProtocolBufferException;
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
import java.time.Duration;
import java.util.Collections;
import java.util.IdentityHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.OptionalInt;
import java.util.OptionalLong;
import java.util.Set;

/**
 * What an error of a call says, read from its status and the details in its trailers.
 *
 * <p>Only the sidecar can say that a push was not sent. An error without its {@code ErrorInfo} was made by a gRPC library on
 * the way, so {@code sent} is {@link Sent#MAYBE}, whatever the code.
 *
 * @param code the gRPC code
 * @param message the first line of the status's text: gRPC adds stack traces to its own; empty when there is none
 * @param reason why; {@code ERROR_REASON_UNSPECIFIED} when the error is not the sidecar's, {@code UNRECOGNIZED} when the
 *     sidecar is newer than this library
 * @param reasonText the reason as it came, without the prefix {@code ERROR_REASON_}; empty when the error is not the
 *     sidecar's
 * @param sent whether the push may have gone out
 * @param vendorCode the vendor's {@code ret_code}
 * @param vendorMessage the vendor's {@code err_msg}
 * @param httpStatus the status of the vendor's answer
 * @param attempts how many calls the sidecar made to the vendor
 * @param retryAfter how long to wait before the next attempt
 * @param pushId id of the list task that the call continued or created
 * @param seq the {@code seq} of the request, as the vendor echoed it
 * @param environment the environment, as the vendor echoed it
 * @param violations the broken rules of the contract
 * @param response the vendor's answer, for a list that failed as a whole
 */
public record PushError(
    Status.Code code,
    String message,
    ErrorReason reason,
    String reasonText,
    Sent sent,
    OptionalInt vendorCode,
    Optional<String> vendorMessage,
    OptionalInt httpStatus,
    OptionalInt attempts,
    Optional<Duration> retryAfter,
    Optional<String> pushId,
    OptionalLong seq,
    Optional<String> environment,
    List<Violation> violations,
    Optional<PushResponse> response) {

  private static final String DOMAIN = "push-sidecar";
  private static final Metadata.Key<byte[]> DETAILS =
      Metadata.Key.of("grpc-status-details-bin", Metadata.BINARY_BYTE_MARSHALLER);

  /** Copies the list. */
  public PushError {
    violations = List.copyOf(violations);
  }

  /**
   * Reads an error. Never throws: what cannot be read counts as absent.
   *
   * @param error what a stub threw, or an exception that has it as cause, such as an {@code ExecutionException}
   */
  public static PushError of(Throwable error) {
    // A chain of causes may be a circle.
    Set<Throwable> seen = Collections.newSetFromMap(new IdentityHashMap<>());
    for (Throwable cause = error; cause != null && seen.add(cause); cause = cause.getCause()) {
      if (cause instanceof StatusRuntimeException e) {
        return of(e.getStatus(), e.getTrailers());
      }
      if (cause instanceof StatusException e) {
        return of(e.getStatus(), e.getTrailers());
      }
    }
    return notOurs(Status.UNKNOWN);
  }

  /** Says whether it is proved that nothing was pushed. The same push may fail again: see {@link #reason}. */
  public boolean wasNotSent() {
    return sent == Sent.NO;
  }

  /** Returns what may be logged: no text of the vendor, no target. */
  @Override
  public String toString() {
    StringBuilder text = new StringBuilder("PushError[code=").append(code);
    text.append(", reason=").append(reasonText.isEmpty() ? "-" : reasonText).append(", sent=").append(sent);
    vendorCode.ifPresent(value -> text.append(", vendorCode=").append(value));
    httpStatus.ifPresent(value -> text.append(", httpStatus=").append(value));
    retryAfter.ifPresent(value -> text.append(", retryAfter=").append(value));
    pushId.ifPresent(value -> text.append(", pushId=").append(value));
    for (Violation violation : violations) {
      text.append(", ").append(violation.field()).append(": ").append(violation.rule());
    }
    return text.append(']').toString();
  }

  private static PushError of(Status status, Metadata trailers) {
    byte[] bytes = trailers == null ? null : trailers.get(DETAILS);
    if (bytes == null) {
      return notOurs(status);
    }
    try {
      com.google.rpc.Status full = com.google.rpc.Status.parseFrom(bytes);
      // Details of another code do not belong to this error.
      return full.getCode() == status.getCode().value() ? read(status, full.getDetailsList()) : notOurs(status);
    } catch (InvalidProtocolBufferException | ArithmeticException e) {
      return notOurs(status);
    }
  }

  private static PushError read(Status status, List<Any> details) throws InvalidProtocolBufferException {
    ErrorInfo info = null;
    for (Any detail : details) {
      if (info == null && detail.is(ErrorInfo.class)) {
        ErrorInfo candidate = detail.unpack(ErrorInfo.class);
        info = candidate.getDomain().equals(DOMAIN) ? candidate : null;
      }
    }
    if (info == null) {
      return notOurs(status);
    }
    Map<String, String> metadata = info.getMetadataMap();
    return new PushError(
        status.getCode(),
        message(status),
        reason(info.getReason()),
        info.getReason(),
        "no".equals(metadata.get("sent")) ? Sent.NO : Sent.MAYBE,
        number(metadata.get("vendor_code")),
        Optional.ofNullable(metadata.get("vendor_message")),
        number(metadata.get("http_status")),
        number(metadata.get("attempts")),
        retryAfter(details),
        Optional.ofNullable(metadata.get("push_id")),
        longNumber(metadata.get("seq")),
        Optional.ofNullable(metadata.get("environment")),
        violations(details),
        find(details, PushResponse.class));
  }

  private static PushError notOurs(Status status) {
    return new PushError(
        status.getCode(),
        message(status),
        ErrorReason.ERROR_REASON_UNSPECIFIED,
        "",
        Sent.MAYBE,
        OptionalInt.empty(),
        Optional.empty(),
        OptionalInt.empty(),
        OptionalInt.empty(),
        Optional.empty(),
        Optional.empty(),
        OptionalLong.empty(),
        Optional.empty(),
        List.of(),
        Optional.empty());
  }

  private static String message(Status status) {
    return status.getDescription() == null ? "" : status.getDescription().lines().findFirst().orElse("");
  }

  private static ErrorReason reason(String name) {
    var value = ErrorReason.getDescriptor().findValueByName("ERROR_REASON_" + name);
    return value == null ? ErrorReason.UNRECOGNIZED : ErrorReason.valueOf(value);
  }

  private static OptionalInt number(String text) {
    try {
      return text == null ? OptionalInt.empty() : OptionalInt.of(Integer.parseInt(text));
    } catch (NumberFormatException e) {
      return OptionalInt.empty();
    }
  }

  private static OptionalLong longNumber(String text) {
    try {
      return text == null ? OptionalLong.empty() : OptionalLong.of(Long.parseLong(text));
    } catch (NumberFormatException e) {
      return OptionalLong.empty();
    }
  }

  private static Optional<Duration> retryAfter(List<Any> details) throws InvalidProtocolBufferException {
    return find(details, RetryInfo.class)
        .filter(RetryInfo::hasRetryDelay)
        .map(RetryInfo::getRetryDelay)
        .map(delay -> Duration.ofSeconds(delay.getSeconds(), delay.getNanos()));
  }

  private static List<Violation> violations(List<Any> details) throws InvalidProtocolBufferException {
    return find(details, BadRequest.class).map(BadRequest::getFieldViolationsList).orElse(List.of()).stream()
        .map(found -> new Violation(found.getField(), found.getReason(), found.getDescription()))
        .toList();
  }

  private static <T extends Message> Optional<T> find(List<Any> details, Class<T> type)
      throws InvalidProtocolBufferException {
    for (Any detail : details) {
      if (detail.is(type)) {
        return Optional.of(detail.unpack(type));
      }
    }
    return Optional.empty();
  }
}
