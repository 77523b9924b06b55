package io.github.pushsidecar.example;

import io.github.pushsidecar.client.PushError;
import io.github.pushsidecar.client.PushSidecar;
import io.github.pushsidecar.xg.v1.AndroidNotification;
import io.github.pushsidecar.xg.v1.PushRequest;
import io.github.pushsidecar.xg.v1.PushResponse;
import io.grpc.ClientInterceptor;
import io.grpc.StatusRuntimeException;
import io.opentelemetry.api.trace.Span;
import io.opentelemetry.api.trace.StatusCode;
import io.opentelemetry.context.Context;
import io.opentelemetry.instrumentation.grpc.v1_6.GrpcTelemetry;
import io.opentelemetry.sdk.OpenTelemetrySdk;
import io.opentelemetry.sdk.autoconfigure.AutoConfiguredOpenTelemetrySdk;
import java.util.Map;

/**
 * Makes one push as a step of an order, in a trace of its own OpenTelemetry SDK. Arguments: TARGET TOKEN.
 *
 * <p>The standard {@code OTEL_*} variables say where the trace goes (over HTTP), and what the service is called.
 */
public final class TracedExample {
  private TracedExample() {}

  public static void main(String[] arguments) {
    if (arguments.length != 2) {
      System.err.println("usage: TracedExample TARGET TOKEN  (TARGET: 127.0.0.1:50051 or unix:/run/push-sidecar/push.sock)");
      System.exit(2);
    }
    boolean isShipped;
    // At its end it sends the spans that it has not sent yet.
    try (OpenTelemetrySdk telemetry = startTelemetry()) {
      isShipped = shipOrder(telemetry, arguments[0], arguments[1]);
    }
    System.exit(isShipped ? 0 : 1);
  }

  private static OpenTelemetrySdk startTelemetry() {
    return AutoConfiguredOpenTelemetrySdk.builder()
        .addPropertiesSupplier(() -> Map.of("otel.metrics.exporter", "none", "otel.logs.exporter", "none"))
        .disableShutdownHook()
        .build()
        .getOpenTelemetrySdk();
  }

  /** Stands for what the application does; the push is one step of it. */
  private static boolean shipOrder(OpenTelemetrySdk telemetry, String target, String token) {
    ClientInterceptor interceptor = GrpcTelemetry.create(telemetry).createClientInterceptor();
    Span span = telemetry.getTracer("traced").spanBuilder("ship order").startSpan();
    System.out.println("trace_id " + span.getSpanContext().getTraceId());
    try (PushSidecar sidecar =
        PushSidecar.builder(target).customize(builder -> builder.intercept(interceptor)).build()) {
      PushResponse response = Context.current().with(span).wrapSupplier(() -> push(sidecar, token)).get();
      System.out.println("push_id " + response.getPushId());
      return true;
    } catch (StatusRuntimeException e) {
      PushError error = PushError.of(e);
      span.setStatus(StatusCode.ERROR, error.reason().toString());
      System.err.println(error + " " + error.message());
      return false;
    } finally {
      span.end();
    }
  }

  private static PushResponse push(PushSidecar sidecar, String token) {
    return sidecar.push(
        PushRequest.newBuilder()
            .setToken(token)
            .setAndroidNotification(
                AndroidNotification.newBuilder().setTitle("Hello").setContent("Your order is on its way."))
            .build());
  }
}
